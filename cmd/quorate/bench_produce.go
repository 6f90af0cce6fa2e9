package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/cmd/quorate/bench"
)

// benchProduceFlags are those of workloads that produce.
type benchProduceFlags struct {
	benchFlags
	partitions   int32
	replicas     int16
	topicConfigs []string
	record       byteSize
	rate         float64
	acks         string
	inFlight     int
	batch        byteSize
	request      byteSize
	compression  string
	keys         int64
	distribution string
}

func (f *benchProduceFlags) register(cmd *cobra.Command) {
	f.benchFlags.register(cmd)
	flags := cmd.Flags()
	flags.Int32VarP(&f.partitions, "partitions", "p", -1, "partitions of a topic that is made for the run (default: the broker's)")
	flags.Int16VarP(&f.replicas, "replicas", "r", -1, "replicas of a topic that is made for the run (default: the broker's)")
	flags.StringArrayVar(&f.topicConfigs, "config", nil, "a setting `NAME=VALUE` of a topic that is made for the run")
	flags.Var(&f.record, "record-size", "size of a record's value")
	flags.Float64Var(&f.rate, "rate", f.rate, "records per second (0: as many as the cluster takes)")
	flags.StringVar(&f.acks, "acks", "all", "`who` acknowledges: all in-sync replicas, 1 for the leader, 0 for nobody")
	flags.IntVar(&f.inFlight, "in-flight", 5, "requests in flight on each connection")
	flags.Var(&f.batch, "batch-size", "most bytes of a batch")
	flags.Var(&f.request, "request-size", "most bytes of a request")
	flags.StringVarP(&f.compression, "compression", "z", "none", "`codec`: none, gzip, snappy, lz4 or zstd")
	flags.Int64Var(&f.keys, "keys", 0, "different keys; Kafka's hash of the key chooses the partition (0: no keys, the partitions in turn)")
	flags.StringVar(&f.distribution, "key-distribution", bench.Uniform, "`how` often each key occurs: uniform, zipf or sequential")
}

func (f *benchProduceFlags) check() error {
	if err := f.benchFlags.check(); err != nil {
		return err
	}
	if err := oneOf("acks", f.acks, "all", "-1", "1", "0"); err != nil {
		return err
	}
	if err := oneOf("compression", f.compression, "none", "gzip", "snappy", "lz4", "zstd"); err != nil {
		return err
	}
	if err := oneOf("key-distribution", f.distribution, bench.Uniform, bench.Zipf, bench.Sequential); err != nil {
		return err
	}
	switch {
	case f.duration == 0 && f.records == 0:
		return usagef("say when to stop: --duration 30s, or --records 1000000")
	case f.rate < 0 || f.rate > 100e6:
		return usagef("--rate is %g, which is not between 0 and 100 million records per second", f.rate)
	case f.inFlight < 1 || f.inFlight > 1000:
		return usagef("--in-flight is %d, which is not between 1 and 1000", f.inFlight)
	case f.keys < 0:
		return usagef("--keys is %d, which is not a number of keys", f.keys)
	case f.partitions == 0 || f.partitions < -1:
		return usagef("--partitions is %d; a topic has at least 1", f.partitions)
	}
	return nil
}

// config is the workload that the flags describe.
func (f *benchProduceFlags) config(cmd *cobra.Command, topic string) (bench.ProduceConfig, error) {
	configs := map[string]*string{}
	for _, setting := range f.topicConfigs {
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			return bench.ProduceConfig{}, usagef("--config %s is not NAME=VALUE", setting)
		}
		configs[name] = &value
	}
	return bench.ProduceConfig{
		Topic:       bench.Topic{Name: topic, Partitions: f.partitions, Replicas: f.replicas, Configs: configs},
		RecordBytes: int(f.record), Rate: f.rate, Records: f.records, Duration: f.duration, Warmup: f.warmup,
		Acks: map[string]int16{"all": -1, "-1": -1, "1": 1, "0": 0}[f.acks], Connections: f.connections, InFlight: f.inFlight,
		BatchBytes: int(f.batch), RequestBytes: int(f.request), Compression: f.compression,
		Keys: f.keys, KeyDistribution: f.distribution,
		Timeout: f.conn.timeout, ServerPIDs: f.pids, Client: f.client,
		Progress: f.tell(cmd.ErrOrStderr()), ProgressEvery: f.progress,
	}, nil
}

func newBenchProduce() *cobra.Command {
	f := &benchProduceFlags{record: 1 << 10, batch: 16 << 10, request: 1 << 20}
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Produce as fast as the cluster takes it, or at a rate",
		Long: `Produce as fast as the cluster takes it, or at a rate, and print what
kafka-producer-perf-test prints. A topic that does not exist is made.

Without --rate and --keys one batch, made before the run, is sent again and again,
to all partitions in turn, so that little of the machine is spent on the client.
Nothing is idempotent: a batch whose answer got lost is sent again and may be there
twice.`,
		Example: `  quorate bench produce load -p 12 -d 30s --warmup 5s
  quorate bench produce load -p 12 -d 60s --rate 20000 --server-pid $(pgrep -f 'quorate serve')`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			c, err := f.config(cmd, args[0])
			if err != nil {
				return err
			}
			if err := f.ping(cmd.Context()); err != nil {
				return quietly(cmd.Context(), err)
			}
			r, err := bench.Produce(cmd.Context(), c)
			if err != nil {
				return f.failed(cmd.Context(), err)
			}
			return f.print(cmd, r, r.Lost)
		},
	}
	f.register(cmd)
	return cmd
}

func newBenchEndToEnd() *cobra.Command {
	f := &benchProduceFlags{record: 1 << 10, batch: 16 << 10, request: 1 << 20, rate: 1000}
	cmd := &cobra.Command{
		Use:   "e2e TOPIC",
		Short: "Produce at a rate, consume, and measure how long it takes from end to end",
		Long: `Produce at a rate and consume the same records. The time from end to end is from
when a record should have been sent to when a consumer has it.`,
		Example: `  quorate bench e2e load -p 12 -d 30s --warmup 5s --rate 20000`,
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			switch {
			case f.rate == 0:
				return usagef("e2e needs a --rate: what is sent as fast as it goes waits in line, and the line would be measured")
			case f.acks == "0":
				return usagef("e2e needs acknowledgements: --acks all or 1")
			case f.record < bench.MinEndToEndBytes:
				return usagef("--record-size is %d; e2e marks each record with %d bytes", f.record, bench.MinEndToEndBytes)
			}
			c, err := f.config(cmd, args[0])
			if err != nil {
				return err
			}
			if err := f.ping(cmd.Context()); err != nil {
				return quietly(cmd.Context(), err)
			}
			r, err := bench.EndToEnd(cmd.Context(), c)
			if err != nil {
				return f.failed(cmd.Context(), err)
			}
			return f.print(cmd, r, r.Lost+r.Missing)
		},
	}
	f.register(cmd)
	return cmd
}

func newBenchSink() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "sink",
		Short: "Run a server that acknowledges and forgets, to measure the client and the network",
		Example: `  quorate bench sink --listen 127.0.0.1:9093
  quorate bench produce load -b 127.0.0.1:9093 -p 12 -d 30s`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			sink, err := bench.NewSink(listen)
			if err != nil {
				return &explainedError{listen + " cannot be bound: " + reason(err), err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "a sink listens on %s\n", sink.Addr())
			return sink.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9093", "the `address` to listen on")
	return cmd
}
