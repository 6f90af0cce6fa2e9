package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/wal"
)

func newLog() *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "Read what is on disk, offline"}
	cmd.AddCommand(newLogDump())
	return cmd
}

func newLogDump() *cobra.Command {
	var opts wal.DumpOptions
	cmd := &cobra.Command{
		Use:     "dump DIR...",
		Short:   "Print the segments and batches of partition directories",
		Example: "  quorate log dump --records data/orders-0\n  quorate log dump --verify data/*-*",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			for _, dir := range dirs {
				if err := isPartition(dir); err != nil {
					return err
				}
				if len(dirs) > 1 {
					fmt.Fprintf(cmd.OutOrStdout(), "=== %s\n", dir)
				}
				if err := wal.DumpDir(cmd.OutOrStdout(), dir, opts); err != nil {
					return fmt.Errorf("dump %s: %w", dir, err)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&opts.Records, "records", false, "also the records of each batch")
	cmd.Flags().BoolVar(&opts.Verify, "verify", false, "check checksums, indexes and continuity")
	return cmd
}

// isPartition tells a person who named the wrong folder what a right one is.
func isPartition(dir string) error {
	segments, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	if len(segments) > 0 {
		return nil
	}
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	return fmt.Errorf("%s has no segment (*.log); name a partition's folder, such as <data_dir>/orders-0", dir)
}
