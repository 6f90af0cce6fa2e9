package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type produceFlags struct {
	conn         connection
	keyDelimiter string
	key          string
	partition    int32
	acks         string
	compression  string
	quiet        bool
}

func newProduce() *cobra.Command {
	f := &produceFlags{}
	cmd := &cobra.Command{
		Use:   "produce TOPIC [VALUE...]",
		Short: "Produce records: the arguments, or the lines of standard input",
		Example: `  quorate produce orders hello
  printf 'k1:v1\nk2:v2\n' | quorate produce orders -K :`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1:]) },
	}
	f.conn.register(cmd)
	cmd.Flags().StringVarP(&f.keyDelimiter, "key-delimiter", "K", "", "what stands between a record's key and its value")
	cmd.Flags().StringVarP(&f.key, "key", "k", "", "the key of every record")
	cmd.Flags().Int32VarP(&f.partition, "partition", "p", -1, "the partition `N` (-1: by key, or spread)")
	cmd.Flags().StringVar(&f.acks, "acks", "all", "`who` acknowledges: all in-sync replicas, 1 for the leader, 0 for nobody")
	cmd.Flags().StringVarP(&f.compression, "compression", "z", "none", "`codec`: none, gzip, snappy, lz4 or zstd")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "do not tell how many records were produced")
	return cmd
}

func (f *produceFlags) run(cmd *cobra.Command, topic string, values []string) error {
	if err := notTogether(cmd, "key", "key-delimiter"); err != nil {
		return err
	}
	opts, err := f.options(topic)
	if err != nil {
		return err
	}
	if err := f.conn.ask(cmd.Context(), func(ctx context.Context, adm *kadm.Client) error {
		return f.checkPartition(ctx, adm, topic)
	}); err != nil {
		return quietly(cmd.Context(), err)
	}
	client, err := f.conn.client(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	input := valuesOf(values)
	if len(values) == 0 {
		input = linesOf(cmd.InOrStdin())
	}
	count, err := f.produce(cmd.Context(), client, input)
	if err != nil {
		return quietly(cmd.Context(), fmt.Errorf("produce to %s: %w; %s acknowledged before that", topic, explain(err, ""), plural(count, "record")))
	}
	if !f.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s produced to %s\n", plural(count, "record"), topic)
	}
	return quietly(cmd.Context(), cmd.Context().Err())
}

func (f *produceFlags) options(topic string) ([]kgo.Opt, error) {
	if err := oneOf("acks", f.acks, "all", "-1", "1", "0"); err != nil {
		return nil, err
	}
	if err := oneOf("compression", f.compression, "none", "gzip", "snappy", "lz4", "zstd"); err != nil {
		return nil, err
	}
	codec := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[f.compression]
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(topic), kgo.AllowAutoTopicCreation(),
		kgo.RecordDeliveryTimeout(f.conn.timeout), kgo.ProducerBatchCompression(codec),
	}
	switch f.acks {
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	}
	if f.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts, nil
}

// checkPartition reports a partition that an existing topic does not have.
func (f *produceFlags) checkPartition(ctx context.Context, adm *kadm.Client, topic string) error {
	if f.partition < 0 {
		return nil
	}
	details, err := adm.ListTopicsWithInternal(ctx, topic)
	if err != nil {
		return explain(err, "")
	}
	if t := details[topic]; t.Err == nil && int(f.partition) >= len(t.Partitions) {
		return noSuchPartition(topic, f.partition, len(t.Partitions))
	}
	return nil
}

// produce sends the input and returns how many records were acknowledged. It
// stops at the first one that was not. An input that is interrupted is not an
// error: what was read of it is sent.
func (f *produceFlags) produce(ctx context.Context, client *kgo.Client, input source) (int64, error) {
	sending, failed := context.WithCancelCause(context.WithoutCancel(ctx))
	defer failed(nil)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(sending, stop)
	var count atomic.Int64
	readErr := input(reading, func(value string) {
		client.Produce(sending, f.record(value), func(_ *kgo.Record, err error) {
			if err != nil {
				failed(err)
				return
			}
			count.Add(1)
		})
	})
	err := client.Flush(sending)
	if cause := context.Cause(sending); cause != nil {
		return count.Load(), cause
	}
	if err == nil {
		err = readErr
	}
	return count.Load(), err
}
