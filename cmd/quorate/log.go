package main

import (
	"fmt"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/wal"
)

func newLog() *cobra.Command {
	return parent(&cobra.Command{Use: "log", Short: "Read what is on disk, offline"}, newLogDump())
}

func newLogDump() *cobra.Command {
	var opts wal.DumpOptions
	cmd := &cobra.Command{
		Use:     "dump DIR...",
		Short:   "Print the segments and batches of partition directories",
		Example: "  quorate log dump --records data/orders-0\n  quorate log dump --verify data/*-*",
		Args:    arguments(1, -1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			for _, dir := range dirs {
				if err := isPartition(dir); err != nil {
					return err
				}
				if len(dirs) > 1 {
					fmt.Fprintf(cmd.OutOrStdout(), "=== %s\n", dir)
				}
				if err := wal.DumpDir(cmd.OutOrStdout(), dir, opts); err != nil {
					return fmt.Errorf("dump %s: %s", dir, oneLine(err))
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&opts.Records, "records", false, "also the records of each batch")
	cmd.Flags().BoolVar(&opts.Verify, "verify", false, "check checksums, indexes and continuity")
	return cmd
}

// segmentName is what a partition's segments are called: an offset.
var segmentName = regexp.MustCompile(`^[0-9]{20}\.log$`)

// isPartition tells a person who named the wrong folder what a right one is.
func isPartition(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: %s; name a partition's folder, such as <data_dir>/orders-0", dir, reason(err))
	}
	for _, e := range entries {
		if segmentName.MatchString(e.Name()) {
			return nil
		}
	}
	return fmt.Errorf("%s has no segment (*.log); name a partition's folder, such as <data_dir>/orders-0", dir)
}
