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
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	root.AddCommand(newServe(), newPlugin(), newConfig(), newTopic(), newProduce(), newConsume(), newGroup(), newLog(), newVersion())
	return root
}
