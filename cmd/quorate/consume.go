package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
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
%v value, %d timestamp, %h headers, and \n and \t.

An offset that a partition does not have, or not yet, stands for the nearest one
that it has. A group goes on where it stopped; -o is where it begins without
committed offsets.`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, topics []string) error { return f.run(cmd, topics) },
	}
	f.conn.register(cmd)
	cmd.Flags().StringVarP(&f.format, "format", "f", `%v\n`, "what is printed of each record")
	cmd.Flags().StringVarP(&f.offset, "offset", "o", "start", "`where` to begin: start, end, an offset, or -N for the last N records of each partition")
	cmd.Flags().IntVarP(&f.count, "num", "n", 0, "end after `N` records")
	cmd.Flags().StringVarP(&f.group, "group", "g", "", "consume as a member of the group `NAME`, and commit")
	cmd.Flags().Int32SliceVarP(&f.partitions, "partitions", "p", nil, "only these partitions, such as `0,2`")
	cmd.Flags().BoolVarP(&f.exit, "exit", "e", false, "end at the end that the partitions have now")
	return cmd
}

func (f *consumeFlags) run(cmd *cobra.Command, topics []string) error {
	position, formatter, err := f.check(cmd)
	if err != nil {
		return err
	}
	var opts []kgo.Opt
	var left remaining
	err = f.conn.ask(cmd.Context(), func(ctx context.Context, adm *kadm.Client) (err error) {
		opts, left, err = f.options(ctx, adm, topics, position)
		return err
	})
	if err != nil {
		return quietly(cmd.Context(), err)
	}
	client, err := f.conn.client(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	return f.consume(cmd.Context(), client, formatter, left, cmd.OutOrStdout())
}

// check reports what is wrong with the flags.
func (f *consumeFlags) check(cmd *cobra.Command) (position, *kgo.RecordFormatter, error) {
	if err := errors.Join(notTogether(cmd, "group", "partitions"), notTogether(cmd, "group", "exit")); err != nil {
		return position{}, nil, err
	}
	if f.count < 0 {
		return position{}, nil, usagef("--num is %d, which is not a number of records", f.count)
	}
	at, err := parseOffset(f.offset)
	if err != nil {
		return position{}, nil, err
	}
	formatter, err := kgo.NewRecordFormatter(f.format)
	if err != nil {
		return position{}, nil, usagef("--format %q: %w", f.format, err)
	}
	return at, formatter, nil
}

// options tells the client what to consume. With --exit there is something left
// to be read, or nothing.
func (f *consumeFlags) options(ctx context.Context, adm *kadm.Client, topics []string, at position) ([]kgo.Opt, remaining, error) {
	details, err := partitionsOf(ctx, adm, topics...)
	if err != nil {
		return nil, nil, err
	}
	if f.group != "" {
		return []kgo.Opt{
			kgo.ConsumerGroup(f.group), kgo.ConsumeTopics(topics...),
			kgo.ConsumeResetOffset(at.offset()), kgo.AutoCommitMarks(),
		}, nil, nil
	}
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, nil, explain(err, "")
	}
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, nil, explain(err, "")
	}
	plan := plan{assignment: map[string]map[int32]kgo.Offset{}, left: remaining{}}
	for _, topic := range topics {
		if err := plan.add(details[topic], f.partitions, at, starts, ends); err != nil {
			return nil, nil, err
		}
	}
	if !f.exit {
		plan.left = nil
	}
	return []kgo.Opt{kgo.ConsumePartitions(plan.assignment)}, plan.left, nil
}

// consume prints until ctx ends, --num records were printed, or left is empty.
// An interrupted group member has committed what it printed.
func (f *consumeFlags) consume(ctx context.Context, client *kgo.Client, formatter *kgo.RecordFormatter, left remaining, w io.Writer) error {
	out := bufio.NewWriter(w)
	for printed := 0; ; {
		if left != nil && left.empty() || f.count > 0 && printed >= f.count {
			return f.commit(client)
		}
		fetches := client.PollRecords(ctx, f.batch(printed))
		if ctx.Err() != nil {
			return f.commit(client)
		}
		if err := lost(fetches); err != nil {
			return err
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

// lost returns the first error that waiting will not mend: brokers that are away
// come back, and the client looks for them.
func lost(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if passing(e.Err) {
			continue
		}
		if e.Topic == "" {
			return fmt.Errorf("consume: %w", explain(e.Err, ""))
		}
		return fmt.Errorf("consume %s-%d: %w", e.Topic, e.Partition, explain(e.Err, ""))
	}
	return nil
}

func passing(err error) bool {
	if errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) {
		return false // it has been deleted
	}
	_, session := errors.AsType[*kgo.ErrGroupSession](err)
	return session || kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err)
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
