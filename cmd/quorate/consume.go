package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeFlags struct {
	conn       connection
	format     string
	offset     string
	count      int
	group      string
	partitions []int32
	exit       bool
}

func newConsume() *cobra.Command {
	f := &consumeFlags{}
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Consume records and print them",
		Example: `  quorate consume orders -o start -e
  quorate consume orders -f '%p/%o %k %v\n' -n 10
  quorate consume orders -g billing`,
		Long: `Consume prints records as they come, until it is interrupted or -n or -e ends it.

The format knows %t topic, %p partition, %o offset, %e leader epoch, %k key,
%v value, %d timestamp, %h headers, and \n and \t.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, topics []string) error { return f.run(cmd, topics) },
	}
	f.conn.register(cmd)
	cmd.Flags().StringVarP(&f.format, "format", "f", `%v\n`, "what is printed of each record")
	cmd.Flags().StringVarP(&f.offset, "offset", "o", "start", "start, end, an offset, or -N for the last N records of each partition")
	cmd.Flags().IntVarP(&f.count, "num", "n", 0, "end after so many records (0: do not)")
	cmd.Flags().StringVarP(&f.group, "group", "g", "", "consume as a member of this group, and commit")
	cmd.Flags().Int32SliceVarP(&f.partitions, "partitions", "p", nil, "only these partitions")
	cmd.Flags().BoolVarP(&f.exit, "exit", "e", false, "end at the end that the partitions have now")
	cmd.MarkFlagsMutuallyExclusive("group", "partitions")
	cmd.MarkFlagsMutuallyExclusive("group", "exit")
	return cmd
}

func (f *consumeFlags) run(cmd *cobra.Command, topics []string) error {
	offset, err := parseOffset(f.offset)
	if err != nil {
		return err
	}
	formatter, err := kgo.NewRecordFormatter(f.format)
	if err != nil {
		return &exitError{exitUsage, fmt.Errorf("--format: %w", err)}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.conn.timeout)
	opts, left, err := f.options(ctx, topics, offset)
	cancel()
	if err != nil {
		return err
	}
	client, err := f.conn.client(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	return f.consume(cmd.Context(), client, formatter, left, cmd.OutOrStdout())
}

func parseOffset(s string) (kgo.Offset, error) {
	switch s {
	case "start", "beginning", "earliest":
		return kgo.NewOffset().AtStart(), nil
	case "end", "latest":
		return kgo.NewOffset().AtEnd(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return kgo.Offset{}, &exitError{exitUsage, fmt.Errorf("--offset %q is not start, end, an offset or -N", s)}
	}
	if n < 0 {
		return kgo.NewOffset().AtEnd().Relative(n), nil
	}
	return kgo.NewOffset().At(n), nil
}

// remaining is which partitions have not been read to their end yet: the next
// offset that counts as the end, by topic and partition.
type remaining map[string]map[int32]int64

func (r remaining) empty() bool {
	for _, partitions := range r {
		if len(partitions) > 0 {
			return false
		}
	}
	return true
}

// read notes a record, and reports whether it is still before the end.
func (r remaining) read(rec *kgo.Record) bool {
	end, ok := r[rec.Topic][rec.Partition]
	if !ok {
		return false
	}
	if rec.Offset+1 >= end {
		delete(r[rec.Topic], rec.Partition)
	}
	return rec.Offset < end
}

func (f *consumeFlags) options(ctx context.Context, topics []string, offset kgo.Offset) ([]kgo.Opt, remaining, error) {
	if f.group != "" {
		return []kgo.Opt{
			kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(topics...),
			kgo.ConsumeResetOffset(offset), kgo.AutoCommitMarks(),
		}, nil, nil
	}
	client, err := f.conn.client()
	if err != nil {
		return nil, nil, err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return nil, nil, f.conn.unreachable(err)
	}
	return f.assign(ctx, kadm.NewClient(client), topics, offset)
}

// assign consumes partitions directly. With --exit it also returns their ends.
func (f *consumeFlags) assign(ctx context.Context, adm *kadm.Client, topics []string, offset kgo.Offset) ([]kgo.Opt, remaining, error) {
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, nil, err
	}
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(starts.Error(), ends.Error()); err != nil {
		return nil, nil, err
	}
	assignment, left := map[string]map[int32]kgo.Offset{}, remaining{}
	ends.Each(func(end kadm.ListedOffset) {
		if !f.wanted(end.Partition) {
			return
		}
		if assignment[end.Topic] == nil {
			assignment[end.Topic], left[end.Topic] = map[int32]kgo.Offset{}, map[int32]int64{}
		}
		assignment[end.Topic][end.Partition] = offset
		if start, ok := starts.Lookup(end.Topic, end.Partition); ok && start.Offset < end.Offset {
			left[end.Topic][end.Partition] = end.Offset
		}
	})
	if !f.exit {
		left = nil
	}
	return []kgo.Opt{kgo.ConsumePartitions(assignment)}, left, nil
}

func (f *consumeFlags) wanted(partition int32) bool {
	if len(f.partitions) == 0 {
		return true
	}
	for _, p := range f.partitions {
		if p == partition {
			return true
		}
	}
	return false
}

// consume prints until ctx ends, --num records were printed, or left is empty.
// An interrupted group member has committed what it printed.
func (f *consumeFlags) consume(ctx context.Context, client *kgo.Client, formatter *kgo.RecordFormatter, left remaining, w io.Writer) error {
	out := bufio.NewWriter(w)
	defer out.Flush() //nolint:errcheck // the last flush inside the loop has reported what is wrong
	for printed := 0; ; {
		if left != nil && left.empty() || f.count > 0 && printed >= f.count {
			return f.commit(client)
		}
		fetches := client.PollRecords(ctx, f.batch(printed))
		if errors.Is(ctx.Err(), context.Canceled) {
			return f.commit(client)
		}
		if err := fetches.Err0(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("consume %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		for r := range fetches.RecordsAll() {
			if left != nil && !left.read(r) {
				continue
			}
			if _, err := out.Write(formatter.AppendRecord(nil, r)); err != nil {
				return err
			}
			printed++
			client.MarkCommitRecords(r)
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func (f *consumeFlags) batch(printed int) int {
	if f.count > 0 {
		return f.count - printed
	}
	return 0
}

func (f *consumeFlags) commit(client *kgo.Client) error {
	if f.group == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.conn.timeout)
	defer cancel()
	return errors.Join(client.CommitMarkedOffsets(ctx), client.LeaveGroupContext(ctx))
}
