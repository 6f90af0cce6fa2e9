package main

import (
	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "quorate",
		Short: "A Kafka-compatible broker whose consensus is a plugin",
		Long: `Quorate is a Kafka-compatible broker. Its metadata is one replicated log kept by
a consensus plugin: etcd-raft and hashicorp-raft are built in, anybody's
executable can take their place.

  quorate serve --dev                     a single node on 127.0.0.1:9092
  quorate serve --config quorate.yaml     a node of a cluster`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	cobra.AddTemplateFunc("flags", flagUsages)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate("{{with or .Long .Short}}{{.}}\n\n{{end}}{{.UsageString}}")
	parent(root, newServe(), newPlugin(), newConfig(), newTopic(), newProduce(), newConsume(), newGroup(), newBroker(), newConsensus(), newLog(), newBench(), newVersion())
	root.InitDefaultHelpCmd()
	for _, cmd := range allBelow(root) {
		cmd.InitDefaultHelpFlag()
		cmd.Flags().Lookup("help").Usage = "show this"
	}
	return root
}

// allBelow returns a command and everything below it.
func allBelow(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		all = append(all, allBelow(c)...)
	}
	return all
}
