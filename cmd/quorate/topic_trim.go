package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// trimming is the flags of `topic trim`.
type trimming struct {
	partitions []int32
	before     string
	out        output
}

// trimRow is a partition as `topic trim` shows it.
type trimRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Start     int64  `json:"start"`
}

func newTopicTrim(conn *connection) *cobra.Command {
	t := &trimming{}
	cmd := &cobra.Command{
		Use:   "trim NAME",
		Short: "Delete a partition's records before an offset",
		Long: `Delete the records of partitions before an offset, on every replica. They cannot be
brought back. --before-offset end deletes all that are committed, and then of every
partition if none is named.

Topics that are only compacted refuse it.`,
		Example: `  quorate topic trim orders --partition 0 --before-offset 1200
  quorate topic trim orders --before-offset end`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			before, err := t.offset()
			if err != nil {
				return err
			}
			return conn.admin(cmd, func(ctx context.Context, adm *kadm.Client) error { return t.run(ctx, cmd, adm, args[0], before) })
		},
	}
	cmd.Flags().Int32SliceVarP(&t.partitions, "partition", "p", nil, "the `partition`; may be repeated")
	cmd.Flags().StringVar(&t.before, "before-offset", "", "the first `offset` that stays, or end")
	t.out.register(cmd)
	return cmd
}

// offset is the offset as the request has it: -1 for the end.
func (t *trimming) offset() (int64, error) {
	if t.before == "end" {
		return -1, nil
	}
	before, err := strconv.ParseInt(t.before, 10, 64)
	switch {
	case t.before == "":
		return 0, usagef("trim needs --before-offset OFFSET, or --before-offset end")
	case err != nil || before < 0:
		return 0, usagef("--before-offset %q is neither an offset nor end", t.before)
	case len(t.partitions) == 0:
		return 0, usagef("trim needs --partition, since each one counts its own offsets")
	}
	return before, nil
}

func (t *trimming) run(ctx context.Context, cmd *cobra.Command, adm *kadm.Client, name string, before int64) error {
	partitions := t.partitions
	if len(partitions) == 0 {
		topics, err := partitionsOf(ctx, adm, name)
		if err != nil {
			return err
		}
		partitions = topics[name].Partitions.Numbers()
	}
	offsets := kadm.Offsets{}
	for _, p := range partitions {
		offsets.AddOffset(name, p, before, -1)
	}
	deleted, err := adm.DeleteRecords(ctx, offsets)
	if err != nil {
		return explain(err, "")
	}
	var errs []error
	list, rows := []trimRow{}, [][]any{}
	for _, d := range deleted.Sorted() {
		if d.Err != nil {
			errs = append(errs, fmt.Errorf("trim %s, partition %d: %w", name, d.Partition, explain(d.Err, trimWords(d.Err))))
			continue
		}
		list = append(list, trimRow{d.Topic, d.Partition, d.LowWatermark})
		rows = append(rows, []any{d.Partition, d.LowWatermark})
	}
	if len(rows) > 0 {
		errs = append(errs, t.out.print(cmd.OutOrStdout(), list, []string{"partition", "start"}, rows))
	}
	return errors.Join(errs...)
}

// trimWords says why records cannot be deleted: the answer has no place for the broker's
// own words.
func trimWords(err error) string {
	switch {
	case errors.Is(err, kerr.PolicyViolation):
		return "the topic is only compacted; add delete to its cleanup.policy first"
	case errors.Is(err, kerr.OffsetOutOfRange):
		return "the offset is behind the last committed record; `quorate topic describe` shows where partitions end"
	case errors.Is(err, kerr.InvalidTopicException):
		return "it is the broker's own topic"
	case errors.Is(err, kerr.RequestTimedOut):
		return "not every replica has deleted its records yet; they will"
	}
	return ""
}
