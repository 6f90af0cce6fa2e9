package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usagef is an error of whoever typed the command.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// arguments checks how many arguments a command gets; most is -1 if there is no
// limit. The error shows what the command takes.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		_, takes, _ := strings.Cut(cmd.Use, " ")
		path := cmd.CommandPath()
		name := strings.TrimPrefix(path, "quorate ")
		switch {
		case most == 0:
			return usagef("%s takes no arguments, but there is %q; see %s --help", name, args[0], path)
		case len(args) < least:
			return usagef("%s needs %s; see %s --help", name, takes, path)
		default:
			return usagef("%s takes only %s, but there is also %q; see %s --help", name, takes, args[most], path)
		}
	}
}

// parent makes a command that only has others below it: without one it shows
// what there is, and an unknown one is an error.
func parent(cmd *cobra.Command, children ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(children...)
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		below := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "quorate")+" ", " ")
		guess := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			guess = fmt.Sprintf(", did you mean %q", below+near[0])
		}
		return usagef("there is no command %q%s; see %s --help", below+args[0], guess, cmd.CommandPath())
	}
	return cmd
}

// notTogether refuses two flags that contradict each other.
func notTogether(cmd *cobra.Command, one, other string) error {
	if cmd.Flags().Changed(one) && cmd.Flags().Changed(other) {
		return usagef("--%s and --%s do not go together", one, other)
	}
	return nil
}

// oneOf checks a flag that has a few values only.
func oneOf(flag, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	last := len(values) - 1
	return usagef("--%s is %q, which is not %s or %s", flag, value, strings.Join(values[:last], ", "), values[last])
}

// usageTemplate is cobra's, shorter, and with flags as people type them.
const usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{flags .LocalFlags}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every {{.Parent.Name}} command:
{{flags .InheritedFlags}}{{end}}{{if .HasAvailableSubCommands}}

{{.CommandPath}} COMMAND --help tells more.{{end}}
`

// flagUsages lists flags, one on a line, with their defaults.
func flagUsages(flags *pflag.FlagSet) string {
	var names, texts []string
	width := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, text := pflag.UnquoteUsage(f)
		name := "      --" + f.Name
		if f.Shorthand != "" {
			name = "  -" + f.Shorthand + ", --" + f.Name
		}
		if kind != "" {
			name += " " + strings.ToUpper(kind)
		}
		names, texts = append(names, name), append(texts, text+flagDefault(f))
		width = max(width, len(name))
	})
	lines := make([]string, len(names))
	for i := range names {
		lines[i] = fmt.Sprintf("%-*s   %s", width, names[i], texts[i])
	}
	return strings.Join(lines, "\n")
}

// flagDefault tells a flag's default, if it is worth telling.
func flagDefault(f *pflag.Flag) string {
	switch v := strings.Trim(f.DefValue, "[]"); v {
	case "", "false", "0", "-1":
		return ""
	default:
		return " (default " + v + ")"
	}
}
