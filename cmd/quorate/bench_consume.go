package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/quorate/quorate/cmd/quorate/bench"
)

func newBenchConsume() *cobra.Command {
	f := &benchFlags{}
	partition, fetch := byteSize(1<<20), byteSize(50<<20)
	var offset string
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Consume a topic as fast as it goes",
		Long: `Consume a topic as fast as it goes, and print what kafka-consumer-perf-test prints.
Without --records and --duration it reads what is there when it begins. There is no
consumer group: the partitions are dealt out to the connections.`,
		Example: `  quorate bench consume load
  quorate bench consume load --from end -d 30s --warmup 5s --connections 3`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if err := oneOf("from", offset, "start", "end"); err != nil {
				return err
			}
			if offset == "end" && f.duration == 0 && f.records == 0 {
				return usagef("say when to stop: --duration 30s, or --records 1000000")
			}
			if err := f.conn.admin(cmd, func(ctx context.Context, adm *kadm.Client) error {
				_, err := partitionsOf(ctx, adm, args[0])
				return err
			}); err != nil {
				return quietly(cmd.Context(), err)
			}
			r, err := bench.Consume(cmd.Context(), bench.ConsumeConfig{
				Topic: args[0], FromEnd: offset == "end", Records: f.records, Duration: f.duration, Warmup: f.warmup,
				Connections: f.connections, PartitionBytes: int32(partition), FetchBytes: int32(fetch),
				Timeout: f.conn.timeout, ServerPIDs: f.pids, Client: f.client,
				Progress: f.tell(cmd.ErrOrStderr()), ProgressEvery: f.progress,
			})
			if err != nil {
				return f.failed(cmd.Context(), err)
			}
			return f.print(cmd, r, r.Lost)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&offset, "from", "start", "`where` to begin: start or end")
	cmd.Flags().Var(&partition, "partition-size", "most bytes of a partition in an answer")
	cmd.Flags().Var(&fetch, "fetch-size", "most bytes of an answer")
	return cmd
}
