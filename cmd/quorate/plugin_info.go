package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/consensus/host"
	"github.com/quorate/quorate/consensus/sdk"
)

const contractMajor = sdk.ProtocolVersion

func newPluginInfo() *cobra.Command {
	var out output
	var pluginArgs []string
	cmd := &cobra.Command{
		Use:   "info PATH|NAME",
		Short: "Show what a plugin says of itself, and what belongs into a config file",
		Example: `  quorate plugin info etcd-raft
  quorate plugin info /opt/backend/bin/my-raft`,
		Args: arguments(1, 1),
	}
	out.register(cmd)
	cmd.Flags().StringSliceVar(&pluginArgs, "args", nil, "`arguments` that the plugin is started with")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := describePlugin(cmd.Context(), args[0], host.Spec{Args: pluginArgs})
		if err != nil {
			return err
		}
		if out.format != "table" {
			return out.print(cmd.OutOrStdout(), p, nil, nil)
		}
		return p.print(cmd.OutOrStdout(), pluginArgs)
	}
	return cmd
}

// print shows the plugin to people.
func (p describedPlugin) print(w io.Writer, args []string) error {
	rows := [][]any{
		{"name", p.Name},
		{"version", p.Version},
		{"contract", p.Contract},
		{"source", p.Source},
		{"sha256", p.SHA256},
		{"capabilities", orDash(strings.Join(p.Capabilities, ", "))},
		{"members", atMost(uint64(p.Limits.Members), "")},
		{"groups", atMost(uint64(p.Limits.Groups), "")},
		{"proposal", atMost(p.Limits.ProposalBytes, " bytes")},
		{"in flight", atMost(uint64(p.Limits.InflightProposals), " proposals") + ", " + atMost(p.Limits.InflightBytes, " bytes")},
	}
	if err := printTable(w, []string{"plugin", ""}, rows); err != nil {
		return err
	}
	if err := p.printSettings(w); err != nil {
		return err
	}
	fmt.Fprint(w, "\nFor the config file:\n\n", p.configSection(args))
	return nil
}

func (p describedPlugin) printSettings(w io.Writer) error {
	if len(p.Settings) == 0 {
		fmt.Fprintln(w, "\nIt has no settings of its own.")
		return nil
	}
	var rows [][]any
	for _, s := range p.Settings {
		value := "-"
		if s.Default != nil {
			value = fmt.Sprint(s.Default)
		}
		rows = append(rows, []any{s.Name, s.Type, value, orDash(s.Range), s.Meaning})
	}
	fmt.Fprintln(w)
	return printTable(w, []string{"setting", "type", "default", "allowed", "meaning"}, rows)
}

// configSection is what belongs into a config file, to be pasted.
func (p describedPlugin) configSection(args []string) string {
	if p.Source == builtIn {
		return fmt.Sprintf("consensus:\n  backend: %s\n", p.Name)
	}
	section := fmt.Sprintf("consensus:\n  backend: external\n  external:\n    path: %q\n    sha256: %s\n", p.Source, p.SHA256)
	if len(args) > 0 {
		section += fmt.Sprintf("    args: [%s]\n", quoted(args))
	}
	return section
}

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q", s))
	}
	return strings.Join(out, ", ")
}

// atMost is a limit, or a dash if the backend leaves it to the SDK.
func atMost(n uint64, unit string) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("at most %d%s", n, unit)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
