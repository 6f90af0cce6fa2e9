package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/core/wal"
)

func newLog() *cobra.Command {
	return parent(&cobra.Command{Use: "log", Short: "Read what is on disk, offline"}, newLogDump())
}

func newLogDump() *cobra.Command {
	var opts wal.DumpOptions
	var format string
	cmd := &cobra.Command{
		Use:   "dump DIR...",
		Short: "Print what lies in partition directories, commit logs and whole data directories",
		Long: `Print what lies in partition directories (batches, indexes, leader epochs, producers,
aborted transactions), in commit logs (frames, checkpoint) and in whole data directories,
which are all of both. It only reads; what a running node writes meanwhile may look damaged.

With --verify every checksum, the order of offsets, what index entries point at and the
chain of the commit log's frames are checked: what is wrong is named with its file and byte,
and ends the command with an error once everything was looked at.`,
		Example: "  quorate log dump --records data/orders-0\n  quorate log dump data/wal\n  quorate log dump --verify -o json data",
		Args:    arguments(1, -1),
		PreRunE: func(*cobra.Command, []string) error { return oneOf("output", format, "text", "json") },
		RunE: func(cmd *cobra.Command, named []string) error {
			opts.JSON = format == "json"
			dumps, err := dumpsOf(named)
			if err != nil {
				return err
			}
			var problems []error
			for _, d := range dumps {
				if len(dumps) > 1 && !opts.JSON {
					fmt.Fprintf(cmd.OutOrStdout(), "=== %s\n", d.dir)
				}
				if err := d.print(cmd.OutOrStdout(), opts); err != nil {
					problems = append(problems, fmt.Errorf("dump %s: %s", d.dir, oneLine(err)))
				}
			}
			if len(problems) > 0 {
				return errors.New(oneLine(errors.Join(problems...)))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&opts.Records, "records", false, "also the records of each batch")
	cmd.Flags().BoolVar(&opts.Indexes, "indexes", false, "also the entries of the indexes")
	cmd.Flags().BoolVar(&opts.Verify, "verify", false, "check checksums, indexes and continuity")
	cmd.Flags().StringVarP(&format, "output", "o", "text", "`format`: text or json, an object on each line")
	return cmd
}

// logDump is a directory and how to print it.
type logDump struct {
	dir   string
	print func(w io.Writer, opts wal.DumpOptions) error
}

var (
	// segmentName is what a partition's segments are called: an offset.
	segmentName = regexp.MustCompile(`^[0-9]{20}\.log$`)
	// commitLogName is what a commit log's files are called.
	commitLogName = regexp.MustCompile(`^[0-9]{4,}\.ring$`)
)

// dumpsOf finds what is in the directories that were named.
func dumpsOf(named []string) (dumps []logDump, err error) {
	for _, dir := range named {
		if d, ok, err := dumpOf(dir); err != nil {
			return nil, fmt.Errorf("%s: %s; name a partition's folder, such as <data_dir>/orders-0, or <data_dir>/wal, or <data_dir>", dir, reason(err))
		} else if ok {
			dumps = append(dumps, d)
			continue
		}
		within, err := dumpsWithin(dir)
		if err != nil {
			return nil, err
		}
		if len(within) == 0 {
			return nil, fmt.Errorf("%s has no segment (*.log), nor a folder that has: name a partition's folder, such as <data_dir>/orders-0, or <data_dir>/wal, or <data_dir>", dir)
		}
		dumps = append(dumps, within...)
	}
	return dumps, nil
}

// dumpOf tells if dir is a partition's or a commit log's.
func dumpOf(dir string) (d logDump, ok bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return d, false, err
	}
	has := func(name *regexp.Regexp) bool {
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return name.MatchString(e.Name()) })
	}
	switch {
	case has(segmentName):
		return logDump{dir, func(w io.Writer, opts wal.DumpOptions) error { return wal.DumpDir(w, dir, opts) }}, true, nil
	case has(commitLogName):
		return logDump{dir, func(w io.Writer, opts wal.DumpOptions) error { return wal.DumpCommitLog(w, dir, opts) }}, true, nil
	}
	return d, false, nil
}

// dumpsWithin is everything that a data directory has, its own checkpoint too.
func dumpsWithin(dir string) (dumps []logDump, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		d, ok, err := dumpOf(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if ok {
			dumps = append(dumps, d)
		}
	}
	if len(dumps) > 0 {
		dumps = append(dumps, logDump{dir, func(_ io.Writer, opts wal.DumpOptions) error {
			if err := replica.CheckHighWatermarks(dir); err != nil && opts.Verify {
				return err
			}
			return nil
		}})
	}
	return dumps, nil
}
