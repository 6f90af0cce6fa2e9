package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/quorate/quorate/cmd/quorate/bench"
)

// connections is how many clients share every load: one would be bound by its own
// writing.
const connections = "4"

// throughputArgs are the arguments of a load without a rate.
func (r *runner) throughputArgs(partitions, recordBytes int, more ...string) []string {
	batch := "64KiB"
	if partitions >= 1000 {
		batch = strconv.Itoa(recordBytes) // a record of each partition: the spread at its worst
	}
	return append([]string{
		"-p", strconv.Itoa(partitions), "--record-size", strconv.Itoa(recordBytes), "--batch-size", batch,
		"--connections", connections, "--warmup", r.warmup().String(), "--duration", (r.seconds() + r.warmup()).String(),
	}, more...)
}

// throughput runs the same load on every variant, in turns, and takes down MB/s,
// records/s and the server's CPU-seconds per GB.
func (r *runner) throughput(ctx context.Context, variants []string, nodes, partitions, recordBytes int) (table, error) {
	t := table{}
	err := r.interleave(ctx, variants, func(variant string) error {
		s, err := r.start(ctx, variant, nodes)
		if err != nil {
			return err
		}
		defer s.stop()
		if err := r.fill(ctx, s); err != nil {
			return err
		}
		var got bench.ProduceResult
		if err := r.load(ctx, s, &got, "produce", "load", r.throughputArgs(partitions, recordBytes, "-r", strconv.Itoa(nodes))...); err != nil {
			return err
		}
		t.add(variant, "MB/s", got.BytesPerSecond/1e6)
		t.add(variant, "records/s", got.RecordsPerSecond)
		t.add(variant, "CPU-s/GB", got.Server.CPUSecondsPerGB)
		t.add(variant, "client CPU-s/GB", got.ClientCPU/(float64(got.Bytes)/1e9))
		t.add(variant, "peak RSS MB", float64(got.Server.PeakRSSBytes)/1e6)
		t.add(variant, "p99 ms", got.LatencyMillis.P99)
		fmt.Fprintf(r.log, "%-8s %5d partitions, %4d B: %7.1f MB/s, %8.0f records/s, server %.2f, client %.2f CPU-s/GB\n", variant, partitions, recordBytes,
			got.BytesPerSecond/1e6, got.RecordsPerSecond, got.Server.CPUSecondsPerGB, got.ClientCPU/(float64(got.Bytes)/1e9))
		return nil
	})
	return t, err
}

// fillRecords of 1000 bytes are more than the commit log holds.
const fillRecords = "1200000"

// fill makes a new broker one that has worked: it writes the files of its commit log
// with zeros once, while it is loaded for the first time.
func (r *runner) fill(ctx context.Context, s *server) error {
	if s.cluster == nil {
		return nil
	}
	var got bench.ProduceResult
	return r.load(ctx, s, &got, "produce", "fill", "-p", "12", "-r", strconv.Itoa(len(s.pids)), "-n", fillRecords, "--record-size", "1000", "--batch-size", "64KiB", "--connections", connections)
}

// sync says a mode of wal.sync in words.
func sync(mode string) string {
	switch mode {
	case "os":
		return "no fsync"
	case "always":
		return "fsync"
	default:
		return "default sync"
	}
}

// goal is what a mode of wal.sync has to reach.
type goal struct{ ratio, cpu float64 }

func produceTwelve(ctx context.Context, r *runner) ([]figure, error) {
	t, err := r.throughput(ctx, append([]string{nullSink}, r.modes...), 1, 12, 1000)
	if err != nil {
		return nil, err
	}
	out := []figure{shown("null sink, 1 KB, 12 partitions", t.line(nullSink), t)}
	goals := map[string]goal{"os": {0.80, 1.0}, "always": {0.70, 1.6}, "": {0.70, 1.6}}
	for _, mode := range r.modes {
		g, name := goals[mode], "produce 1 KB, 12 partitions, "+sync(mode)
		ratio, cpu := t.ratio(mode, nullSink, "MB/s"), t[mode]["CPU-s/GB"]
		out = append(out,
			judged(name, fmt.Sprintf(">= %.0f %% of the null sink", 100*g.ratio), fmt.Sprintf("%.0f %%: %s", 100*ratio, t[mode]["MB/s"].seen("%.0f MB/s")), ratio >= g.ratio, t),
			judged(name, fmt.Sprintf("<= %.1f broker CPU-s/GB", g.cpu), cpu.seen("%.2f"), cpu.median() <= g.cpu, nil))
	}
	return out, nil
}

// line is a variant's throughput in a few words.
func (t table) line(variant string) string {
	return fmt.Sprintf("%s, %s CPU-s/GB", t[variant]["MB/s"].seen("%.0f MB/s"), t[variant]["CPU-s/GB"].seen("%.2f"))
}

func produceSmall(ctx context.Context, r *runner) ([]figure, error) {
	t, err := r.throughput(ctx, append([]string{nullSink}, r.modes...), 1, 12, 100)
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, mode := range r.modes {
		rate := t[mode]["records/s"]
		name := "produce 100 B, 12 partitions, " + sync(mode)
		seen := fmt.Sprintf("%s; %.0f %% of the null sink", inMillions(rate), 100*t.ratio(mode, nullSink, "MB/s"))
		if mode == "os" {
			out = append(out, shown(name, seen, t))
			continue
		}
		out = append(out, judged(name, ">= 1.2 M records/s", seen, rate.median() >= 1.2e6, t))
	}
	return out, nil
}

func inMillions(s samples) string {
	millions := make(samples, len(s))
	for i, v := range s {
		millions[i] = v / 1e6
	}
	return millions.seen("%.2f M records/s")
}

// producePartitions compares the modes of wal.sync when the load is spread.
func producePartitions(partitions int) func(context.Context, *runner) ([]figure, error) {
	return func(ctx context.Context, r *runner) ([]figure, error) {
		t, err := r.throughput(ctx, append([]string{nullSink}, r.modes...), 1, partitions, 1000)
		if err != nil {
			return nil, err
		}
		var out []figure
		name := fmt.Sprintf("produce 1 KB, %s, ", count(partitions, "partition"))
		for _, mode := range r.modes {
			seen := fmt.Sprintf("%s; %.0f %% of the null sink", t.line(mode), 100*t.ratio(mode, nullSink, "MB/s"))
			if mode != "always" || partitions != 1000 || !slices.Contains(r.modes, "os") {
				out = append(out, shown(name+sync(mode), seen, t))
				continue
			}
			ratio := t.ratio("always", "os", "MB/s")
			out = append(out, judged(name+sync(mode), ">= 65 % of no fsync", fmt.Sprintf("%.0f %%: %s", 100*ratio, seen), ratio >= 0.65, t))
		}
		return out, nil
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func produceReplicated(ctx context.Context, r *runner) ([]figure, error) {
	t, err := r.throughput(ctx, r.modes, 3, 12, 1000)
	if err != nil {
		return nil, err
	}
	goals := map[string]float64{"os": 200, "always": 150, "": 150}
	var out []figure
	for _, mode := range r.modes {
		rate := t[mode]["MB/s"]
		out = append(out, judged("three nodes, RF 3, acks=all, "+sync(mode), fmt.Sprintf(">= %.0f MB/s", goals[mode]), t.line(mode), rate.median() >= goals[mode], t))
	}
	return out, nil
}

// consume reads what was produced a moment ago, from the page cache.
func consume(ctx context.Context, r *runner) ([]figure, error) {
	t := table{}
	records := strconv.Itoa(choose(r, 1_000_000, 3_000_000))
	for range r.rounds() {
		if err := r.consumeOnce(ctx, t, records); err != nil {
			return nil, err
		}
	}
	cpu := t["consume"]["CPU-s/GB"]
	return []figure{judged("consume 1 KB, 12 partitions", "<= 0.75 broker CPU-s/GB", fmt.Sprintf("%s; %s", cpu.seen("%.2f"), t["consume"]["MB/s"].seen("%.0f MB/s")), cpu.median() <= 0.75, t)}, nil
}

func (r *runner) consumeOnce(ctx context.Context, t table, records string) error {
	s, err := r.start(ctx, r.modes[0], 1)
	if err != nil {
		return err
	}
	defer s.stop()
	var sent bench.ProduceResult
	if err := r.load(ctx, s, &sent, "produce", "load", "-p", "12", "--record-size", "1000", "--batch-size", "64KiB", "-n", records, "--connections", connections); err != nil {
		return err
	}
	var got bench.ConsumeResult
	if err := r.load(ctx, s, &got, "consume", "load", "--connections", connections); err != nil {
		return err
	}
	if got.Records != sent.Records {
		return fmt.Errorf("%d records were produced and %d read", sent.Records, got.Records)
	}
	t.add("consume", "MB/s", got.BytesPerSecond/1e6)
	t.add("consume", "CPU-s/GB", got.Server.CPUSecondsPerGB)
	t.add("consume", "client CPU-s/GB", got.ClientCPU/(float64(got.Bytes)/1e9))
	fmt.Fprintf(r.log, "consume  %7.1f MB/s, server %.2f CPU-s/GB\n", got.BytesPerSecond/1e6, got.Server.CPUSecondsPerGB)
	return nil
}
