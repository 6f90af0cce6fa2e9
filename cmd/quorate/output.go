package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// output is the -o flag of the commands that show something.
type output struct{ format string }

func (o *output) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "`format`: table, json or yaml")
	cmd.PreRunE = func(*cobra.Command, []string) error { return oneOf("output", o.format, "table", "json", "yaml") }
}

// print writes value as JSON or YAML, or rows as a table with a header.
func (o *output) print(w io.Writer, value any, header []string, rows [][]any) error {
	switch o.format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	case "yaml":
		return printYAML(w, value)
	default:
		return printTable(w, header, rows)
	}
}

// printYAML goes by way of JSON, so that both formats have the same keys.
func printYAML(w io.Writer, value any) error {
	asJSON, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var plain any
	if err := yaml.Unmarshal(asJSON, &plain); err != nil {
		return err
	}
	enc := yaml.NewEncoder(w)
	if err := enc.Encode(plain); err != nil {
		return err
	}
	return enc.Close()
}

// printTable leaves no blanks at the ends of lines: tables are piped and compared.
func printTable(w io.Writer, header []string, rows [][]any) error {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	head := make(table.Row, len(header))
	for i, h := range header {
		head[i] = strings.ToUpper(h)
	}
	t.AppendHeader(head)
	for _, r := range rows {
		t.AppendRow(r)
	}
	for line := range strings.Lines(t.Render() + "\n") {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// ids is a list of broker ids as people read it: 1,2,3.
func ids(list []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}
