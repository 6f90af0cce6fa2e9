package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check and explain config files"}
	cmd.AddCommand(newConfigValidate(), newConfigExplain())
	return cmd
}

func newConfigValidate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Report everything that is wrong with a config file; exit code 2 if anything is",
		Args:  cobra.ExactArgs(1),
	}
	configs.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(configs.Source{Path: args[0], Env: settingsEnvironment(), Flags: cmd.Flags()}, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if err := validateOptions(cmd, cfg, args[0]); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: node %d of cluster %s, backend %s\n", args[0], cfg.Node.ID, cfg.Cluster.ID, cfg.Consensus.Backend)
		return nil
	}
	return cmd
}

// validateOptions has the backend itself check its options.
func validateOptions(cmd *cobra.Command, cfg configs.Config, file string) error {
	diagnostics, err := diagnose(cmd.Context(), cfg)
	if err != nil {
		return withExitCode(err)
	}
	bad := 0
	for _, d := range diagnostics {
		severity := "error"
		if d.Warning {
			severity = "warning"
		} else {
			bad++
		}
		key := "consensus/options/" + d.Path
		at := file
		if o, ok := cfg.Origins[key]; ok {
			at = o.String()
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s: %s: %s\n", at, severity, key, d.Message)
	}
	if bad > 0 {
		return &exitError{exitUsage, nil}
	}
	return nil
}

// diagnose asks a built-in backend in this process, and an external one in its own.
func diagnose(ctx context.Context, cfg configs.Config) ([]consensus.Diagnostic, error) {
	dir, err := os.MkdirTemp("", "quorate-validate-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cfg.Node.DataDir = dir // validating leaves nothing behind
	spec, err := hostSpec(cfg)
	if err != nil {
		return nil, &exitError{exitUsage, err}
	}
	if newBackend, ok := backends[spec.Name]; ok {
		return newBackend().Validate(spec.Start.Options), nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, diagnostics, err := host.Describe(ctx, spec, slog.New(slog.DiscardHandler))
	return diagnostics, err
}

func newConfigExplain() *cobra.Command {
	var out output
	var path string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Show every setting: its value, where that comes from, what it means",
		Args:  cobra.NoArgs,
	}
	out.register(cmd)
	cmd.Flags().StringVarP(&path, "config", "c", "", "the config file (none: the defaults)")
	configs.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		src := configs.Source{Path: path, Env: settingsEnvironment(), Flags: cmd.Flags()}
		if _, err := loadConfig(src, cmd.ErrOrStderr()); err != nil {
			return err
		}
		entries, err := configs.Explain(src)
		if err != nil {
			return err
		}
		var rows [][]any
		for _, e := range entries {
			rows = append(rows, []any{e.Key, e.Value, e.Origin, e.Meaning})
		}
		return out.print(cmd.OutOrStdout(), entries, []string{"key", "value", "from", "meaning"}, rows)
	}
	return cmd
}
