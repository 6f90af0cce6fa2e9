package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/cmd/quorate/bench"
)

func newBench() *cobra.Command {
	return parent(&cobra.Command{
		Use:   "bench",
		Short: "Load a cluster and measure it",
		Long: `Load a cluster, any that speaks Kafka's protocol, and measure it.

With --rate, latencies count from the time at which a record should have been sent,
whether it could be or not.`,
	}, newBenchProduce(), newBenchConsume(), newBenchEndToEnd(), newBenchSink())
}

// benchFlags are those of every workload.
type benchFlags struct {
	conn        connection
	connections int
	records     int64
	duration    time.Duration
	warmup      time.Duration
	pids        []int
	progress    time.Duration
	output      output
}

func (f *benchFlags) register(cmd *cobra.Command) {
	f.conn.register(cmd)
	flags := cmd.Flags()
	flags.IntVar(&f.connections, "connections", 1, "clients, each with its own connections to the brokers")
	flags.Int64VarP(&f.records, "records", "n", 0, "stop after `N` records")
	flags.DurationVarP(&f.duration, "duration", "d", 0, "stop after this time")
	flags.DurationVar(&f.warmup, "warmup", 0, "the first part of the run, which is not measured")
	flags.IntSliceVar(&f.pids, "server-pid", nil, "`processes` of the server on this machine: tells the CPU and memory that they and their children use")
	flags.DurationVar(&f.progress, "progress", 5*time.Second, "how often to tell how it goes, on stderr; 0s: never")
	f.output.register(cmd)
}

func (f *benchFlags) check() error {
	switch {
	case f.connections < 1:
		return usagef("--connections is %d; at least 1 is needed", f.connections)
	case f.records < 0:
		return usagef("--records is %d, which is not a number of records", f.records)
	case f.duration < 0 || f.warmup < 0 || f.progress < 0:
		return usagef("a time must not be negative")
	case f.duration > 0 && f.warmup >= f.duration:
		return usagef("--warmup %v leaves nothing to measure of --duration %v", f.warmup, f.duration)
	}
	return nil
}

func (f *benchFlags) client(opts ...kgo.Opt) (*kgo.Client, error) { return f.conn.client(opts...) }

// tell prints progress lines.
func (f *benchFlags) tell(w io.Writer) func(bench.Progress) {
	return func(p bench.Progress) { fmt.Fprintln(w, p.Line()) }
}

// benchResult is what a workload measured.
type benchResult interface{ Print(w io.Writer) }

// print prints a result; lost records are an error after it.
func (f *benchFlags) print(cmd *cobra.Command, r benchResult, lost int64) error {
	var err error
	switch w := cmd.OutOrStdout(); f.output.format {
	case "table":
		r.Print(w)
	case "yaml":
		err = printYAML(w, r)
	default:
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	}
	if err == nil && lost > 0 {
		err = fmt.Errorf("%s lost; the errors above say why", was(lost, "record"))
	}
	if err == nil && cmd.Context().Err() != nil {
		return &exitError{exitInterrupted, nil}
	}
	return err
}

// was is "1 record was", "2 records were".
func was(n int64, noun string) string {
	if n == 1 {
		return plural(n, noun) + " was"
	}
	return plural(n, noun) + " were"
}

// failed puts an error of a workload into words.
func (f *benchFlags) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return quietly(ctx, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &explainedError{"the cluster at " + strings.Join(f.conn.bootstrap, ", ") + " did not answer in time", err}
	}
	return explain(err, "")
}

// ping tells in words if nobody is there.
func (f *benchFlags) ping(ctx context.Context) error {
	client, err := f.conn.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, f.conn.timeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return f.conn.unreachable(err)
	}
	return nil
}

// byteSize is a flag for a number of bytes: 1000, 64KiB, 1MiB.
type byteSize int

var byteUnits = []struct {
	suffix string
	size   int
}{{"MiB", 1 << 20}, {"KiB", 1 << 10}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1}, {"", 1}}

func (b *byteSize) String() string {
	for _, u := range byteUnits[:2] {
		if n := int(*b); n >= u.size && n%u.size == 0 {
			return strconv.Itoa(n/u.size) + u.suffix
		}
	}
	return strconv.Itoa(int(*b))
}

func (*byteSize) Type() string { return "bytes" }

func (b *byteSize) Set(s string) error {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > (1<<30)/u.size {
			return errors.New("not a size between 1 and 1024MiB (examples: 1000, 16KiB, 1MiB)")
		}
		*b = byteSize(n * u.size)
		return nil
	}
	return nil
}
