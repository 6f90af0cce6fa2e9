package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/cmd/quorate/doctor"
	"github.com/quorate/quorate/consensus/host"
)

func newPluginDoctor() *cobra.Command {
	var out output
	var p doctor.Plugin
	cmd := &cobra.Command{
		Use:   "doctor PATH",
		Short: "Find out why a plugin does not come up, step by step; exit code 1 if anything is wrong",
		Example: `  quorate plugin doctor ./my-raft
  quorate plugin doctor ./my-raft --sha256 ab12… --args --verbose`,
		Args: arguments(1, 1),
	}
	out.register(cmd)
	cmd.Flags().StringVar(&p.SHA256, "sha256", "", "the `checksum` that it should have")
	cmd.Flags().StringSliceVar(&p.Args, "args", nil, "`arguments` that it is started with")
	cmd.Flags().StringToStringVar(&p.Env, "env", nil, "`name=value` of its environment")
	cmd.Flags().DurationVar(&p.Timeout, "timeout", host.DefaultSupervision().StartTimeout, "how long it may take to print its handshake `line`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.Path = args[0]
		if path, err := pluginPath(args[0]); err == nil {
			p.Path = path
		}
		findings, err := doctor.Examine(cmd.Context(), p, func(ctx context.Context) (string, error) {
			d, err := describePlugin(ctx, p.Path, host.Spec{Args: p.Args, Env: p.Env})
			return fmt.Sprintf("%s %s, contract %s", d.Name, d.Version, d.Contract), err
		})
		if err != nil {
			return err
		}
		if out.format != "table" {
			err = out.print(cmd.OutOrStdout(), findings, nil, nil)
		} else {
			printFindings(cmd.OutOrStdout(), findings)
		}
		if err == nil && !doctor.Healthy(findings) {
			return &exitError{exitFailure, nil}
		}
		return err
	}
	return cmd
}

// printFindings says what was found, and under what is wrong, what to do.
func printFindings(w io.Writer, findings []doctor.Finding) {
	for _, f := range findings {
		mark := "ok  "
		if !f.OK {
			mark = "BAD "
		}
		fmt.Fprintf(w, "%s %-13s %s\n", mark, f.Check, f.Says)
		if f.Fix != "" {
			fmt.Fprintf(w, "     %-13s   → %s\n", "", f.Fix)
		}
	}
}
