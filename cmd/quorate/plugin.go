package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk"
	"github.com/quorate/quorate/plugins/etcdraft"
	"github.com/quorate/quorate/plugins/hashicorpraft"
	"github.com/quorate/quorate/plugins/solo"
)

// backends are the consensus backends in this binary. The broker runs them as
// processes of their own: this executable again, as `quorate plugin serve NAME`.
var backends = map[string]func() consensus.Backend{
	"solo":           solo.New,
	"etcd-raft":      etcdraft.New,
	"hashicorp-raft": hashicorpraft.New,
}

// pluginToServe recognises `plugin serve NAME`. It is looked at before anything
// else in the process, so that a plugin starts fast and prints nothing.
func pluginToServe(args []string) (name string, ok bool) {
	if len(args) == 3 && args[0] == "plugin" && args[1] == "serve" {
		return args[2], true
	}
	return "", false
}

func servePlugin(name string) {
	newBackend, ok := backends[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "quorate: no built-in consensus backend %q; there are: %s\n", name, strings.Join(backendNames(), ", "))
		os.Exit(consensus.ExitConfig)
	}
	sdk.Serve(newBackend())
}

func backendNames() []string { return slices.Sorted(maps.Keys(backends)) }

func newPlugin() *cobra.Command {
	return parent(&cobra.Command{Use: "plugin", Short: "Consensus plugins: the built-in ones, and your own"}, newPluginInfo(), newPluginList(), newPluginDoctor(), newPluginNew(), newPluginRun(), newPluginVerify(), &cobra.Command{
		Use:       "serve NAME",
		Short:     "Run a built-in consensus backend; the broker does this, not people",
		Args:      arguments(1, 1),
		ValidArgs: backendNames(),
		Hidden:    true,
		Run:       func(_ *cobra.Command, args []string) { servePlugin(args[0]) },
	})
}
