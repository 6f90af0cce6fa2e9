package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus/host"
)

func newConfig() *cobra.Command {
	return parent(&cobra.Command{Use: "config", Short: "Check and explain config files"}, newConfigValidate(), newConfigExplain())
}

func newConfigValidate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Report everything that is wrong with a config file; exit code 2 if anything is",
		Args:  arguments(1, 1),
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
	diagnostics, err := diagnoseBuiltIn(cfg)
	if err == nil && cfg.Consensus.Backend == host.External {
		diagnostics, err = diagnoseExternal(cmd.Context(), cfg)
	}
	if err != nil {
		return err
	}
	return reportOptions(cfg, file, diagnostics, cmd.ErrOrStderr())
}

func newConfigExplain() *cobra.Command {
	var out output
	var path string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Show every setting: its value, where that comes from, what it means",
		Args:  arguments(0, 0),
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
