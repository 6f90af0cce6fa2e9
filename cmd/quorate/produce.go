package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxLine bounds a line of `produce`'s input.
const maxLine = 16 << 20

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
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1:]) },
	}
	f.conn.register(cmd)
	cmd.Flags().StringVarP(&f.keyDelimiter, "key-delimiter", "K", "", "a line is a key, this delimiter and a value")
	cmd.Flags().StringVarP(&f.key, "key", "k", "", "the key of every record")
	cmd.Flags().Int32VarP(&f.partition, "partition", "p", -1, "the partition (-1: by key, or spread)")
	cmd.Flags().StringVar(&f.acks, "acks", "all", "all, 1 or 0")
	cmd.Flags().StringVarP(&f.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "do not tell how many records were produced")
	cmd.MarkFlagsMutuallyExclusive("key", "key-delimiter")
	return cmd
}

func (f *produceFlags) run(cmd *cobra.Command, topic string, values []string) error {
	opts, err := f.options(topic)
	if err != nil {
		return err
	}
	client, err := f.conn.client(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	var input io.Reader = strings.NewReader(strings.Join(values, "\n"))
	if len(values) == 0 {
		input = cmd.InOrStdin()
	}
	count, err := f.produce(cmd.Context(), client, input)
	if err != nil {
		return fmt.Errorf("produce to %s: %w", topic, err)
	}
	if !f.quiet {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d records produced to %s\n", count, topic)
	}
	return nil
}

func (f *produceFlags) options(topic string) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.AllowAutoTopicCreation(), kgo.RecordDeliveryTimeout(f.conn.timeout)}
	switch f.acks {
	case "all", "-1":
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, &exitError{exitUsage, fmt.Errorf("--acks %q is not all, 1 or 0", f.acks)}
	}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[f.compression]
	if !ok {
		return nil, &exitError{exitUsage, fmt.Errorf("--compression %q is not none, gzip, snappy, lz4 or zstd", f.compression)}
	}
	opts = append(opts, kgo.ProducerBatchCompression(codec))
	if f.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return opts, nil
}

// produce sends every line of input and returns how many were acknowledged. It
// stops at the first one that was not.
func (f *produceFlags) produce(ctx context.Context, client *kgo.Client, input io.Reader) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var count atomic.Int64
	lines := bufio.NewScanner(input)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() && ctx.Err() == nil {
		client.Produce(ctx, f.record(lines.Text()), func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(err)
				return
			}
			count.Add(1)
		})
	}
	err := client.Flush(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return count.Load(), errors.Join(err, lines.Err())
}

func (f *produceFlags) record(line string) *kgo.Record {
	r := &kgo.Record{Partition: max(f.partition, 0), Value: []byte(line)}
	if f.key != "" {
		r.Key = []byte(f.key)
	}
	if f.keyDelimiter != "" {
		if key, value, ok := strings.Cut(line, f.keyDelimiter); ok {
			r.Key, r.Value = []byte(key), []byte(value)
		}
	}
	return r
}
