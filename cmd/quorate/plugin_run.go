package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/cmd/quorate/workbench"
	"github.com/quorate/quorate/consensus/host"
)

func newPluginRun() *cobra.Command {
	cfg := workbench.Config{Describe: describeBuilt, Command: os.Args[0]}
	var settings string
	cmd := &cobra.Command{
		Use:   "run DIR",
		Short: "Run a cluster on a plugin that you are writing; it is built again when you save",
		Long: `Run a cluster on a plugin that you are writing. DIR is the folder of its main
package, in Go. It is built, three nodes are started with it (one, if that is all
it takes) below a temporary folder, and their addresses are printed. When a file
is saved it is built again and the nodes are restarted; what does not build is
shown, and the nodes go on. Ctrl-C ends all of it and removes the folder.`,
		Example: `  quorate plugin new my-raft && cd my-raft && go mod tidy
  quorate plugin run .
  quorate plugin run ./my-raft --options '{"profile": "small"}' --log-level debug`,
		Args: arguments(1, 1),
	}
	f := cmd.Flags()
	f.IntVar(&cfg.Nodes, "nodes", 0, "how many nodes; 0: three, or one for a backend of one replica")
	f.StringVar(&settings, "options", "", "the backend's own settings, as `JSON`")
	f.StringVar(&cfg.LogLevel, "log-level", "info", "of nodes and plugins: debug, info, warn, error")
	f.BoolVar(&cfg.Fresh, "fresh", false, "every build begins without data")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("log-level", cfg.LogLevel, "debug", "info", "warn", "error"); err != nil {
			return err
		}
		if cfg.Nodes < 0 || cfg.Nodes > 9 {
			return usagef("--nodes is %d, which is not 0 to 9", cfg.Nodes)
		}
		var object map[string]any
		if settings != "" {
			if err := json.Unmarshal([]byte(settings), &object); err != nil {
				return usagef("--options is no JSON object: %w", err)
			}
			cfg.Options = json.RawMessage(settings)
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		cfg.Dir, cfg.Quorate, cfg.Out = args[0], self, cmd.OutOrStdout()
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP) // the terminal is closed
		defer stop()
		return workbench.Run(ctx, cfg)
	}
	return cmd
}

func describeBuilt(ctx context.Context, path string) (workbench.Described, error) {
	d, err := describePlugin(ctx, path, host.Spec{})
	return workbench.Described{Name: d.Name, Version: d.Version, MaxMembers: d.Limits.Members}, err
}
