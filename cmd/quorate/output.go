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
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "table, json or yaml")
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
	case "table":
		printTable(w, header, rows)
		return nil
	default:
		return &exitError{exitUsage, fmt.Errorf("output format %q is not known; there are table, json and yaml", o.format)}
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

func printTable(w io.Writer, header []string, rows [][]any) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
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
	t.Render()
}

// ids is a list of broker ids as people read it: 1,2,3.
func ids(list []int32) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
}
