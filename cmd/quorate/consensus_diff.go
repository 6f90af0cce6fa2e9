package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/admin/archive"
	"github.com/quorate/quorate/core/metadata"
)

// compared is what `consensus diff` shows.
type compared struct {
	A           side                  `json:"a"`
	B           side                  `json:"b"`
	Same        bool                  `json:"same"`
	Differences []metadata.Difference `json:"differences"`
}

// side is one of the two files.
type side struct {
	File  string `json:"file"`
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

func newConsensusDiff() *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare the metadata in two files",
		Long: `Compare the metadata in two files that "quorate consensus export" or "quorate consensus
snapshot save" wrote: brokers, topics with their ids, partitions with their replicas,
leaders and epochs, settings, and the next producer, broker and replica ids. Where in
their logs the two stand is shown, and not compared. Positions of groups are no metadata:
they are records of __consumer_offsets, of which the partitions are compared.

The exit code is 0 if the two hold the same, 1 if they differ, and 2 if one of them cannot
be read.`,
		Example: `  quorate consensus diff before.qa after.qa
  quorate consensus diff before.qa after.qa -o json`,
		Args: arguments(2, 2),
	}
	out.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := readMetadata(args[0])
		if err != nil {
			return &exitError{exitUsage, err}
		}
		b, err := readMetadata(args[1])
		if err != nil {
			return &exitError{exitUsage, err}
		}
		found := metadata.Diff(a, b)
		if found == nil {
			found = []metadata.Difference{}
		}
		c := compared{A: side{args[0], a.Index, a.Term}, B: side{args[1], b.Index, b.Term}, Same: len(found) == 0, Differences: found}
		if err := c.print(cmd.OutOrStdout(), out, inventory(a)); err != nil || c.Same {
			return err
		}
		return &exitError{exitFailure, nil}
	}
	return cmd
}

func (c compared) print(w io.Writer, out *output, has string) error {
	if out.format == "table" && c.Same {
		_, err := fmt.Fprintf(w, "the same in both: %s\n", has)
		return err
	}
	if out.format == "table" {
		fmt.Fprintf(w, "A is %s, entry %d of term %d\nB is %s, entry %d of term %d\n\n", c.A.File, c.A.Index, c.A.Term, c.B.File, c.B.Index, c.B.Term)
	}
	var rows [][]any
	for _, d := range c.Differences {
		rows = append(rows, []any{d.Kind, d.Name, d.Field, valueOrDash(d.A), valueOrDash(d.B)})
	}
	return out.print(w, c, []string{"kind", "name", "field", "A", "B"}, rows)
}

// valueOrDash shows what is not there as a dash, and what is empty as empty.
func valueOrDash(s *string) string {
	switch {
	case s == nil:
		return "-"
	case *s == "":
		return `""`
	}
	return *s
}

// readMetadata reads an export, an archive, or a snapshot's content.
func readMetadata(file string) (*metadata.Image, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(content, []byte(archive.Magic)) {
		_, img, err := readArchive(file)
		return img, err
	}
	img, err := metadata.ReadSnapshot(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%s is neither an export nor an archive, or a damaged one: %w", file, err)
	}
	return img, nil
}
