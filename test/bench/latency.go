package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/quorate/quorate/cmd/quorate/bench"
)

// rate is the load under which latencies are measured, in records per second.
const rate = 20_000

// latencyTable runs the open loop on every variant, in turns.
func (r *runner) latencyTable(ctx context.Context, variants []string, nodes, partitions int) (table, error) {
	t := table{}
	err := r.interleave(ctx, variants, func(variant string) error {
		s, err := r.start(ctx, variant, nodes)
		if err != nil {
			return err
		}
		defer s.stop()
		var got bench.ProduceResult
		err = r.load(ctx, s, &got, "produce", "load", "-p", strconv.Itoa(partitions), "-r", strconv.Itoa(nodes), "--record-size", "1000",
			"--rate", strconv.Itoa(rate), "--connections", connections, "--warmup", "2s", "--duration", (r.seconds() + 2e9).String())
		if err != nil {
			return err
		}
		l := got.LatencyMillis
		for thing, v := range map[string]float64{"p50": l.P50, "p95": l.P95, "p99": l.P99, "p99.9": l.P999, "max": l.Max} {
			t.add(variant, thing, v)
		}
		t.add(variant, "CPU-s/GB", got.Server.CPUSecondsPerGB)
		fmt.Fprintf(r.log, "%-8s %5d partitions, %d records/s: p50 %.2f, p99 %.2f, p99.9 %.2f, max %.2f ms\n", variant, partitions, rate, l.P50, l.P99, l.P999, l.Max)
		return nil
	})
	return t, err
}

// bound is a pair of latencies in milliseconds; zero: only shown.
type bound struct{ p50, p99 float64 }

// bounds are those to be reached, by partitions and mode of wal.sync.
var bounds = map[int]map[string]bound{
	12:   {"os": {0.6, 5}, "always": {2, 12}, "": {2, 12}},
	1000: {"always": {3, 20}, "": {3, 20}},
}

func (b bound) figure(name string, t table, variant string) figure {
	p50, p99 := t[variant]["p50"], t[variant]["p99"]
	seen := fmt.Sprintf("p50 %s, p99 %s", p50.seen("%.2f ms"), p99.seen("%.1f ms"))
	if b == (bound{}) {
		return shown(name, seen, t)
	}
	return judged(name, fmt.Sprintf("p50 <= %g ms, p99 <= %g ms", b.p50, b.p99), seen, p50.median() <= b.p50 && p99.median() <= b.p99, t)
}

func latency(partitions int) func(context.Context, *runner) ([]figure, error) {
	return func(ctx context.Context, r *runner) ([]figure, error) {
		variants := r.modes
		if partitions == 12 {
			variants = append([]string{nullSink}, r.modes...)
		}
		t, err := r.latencyTable(ctx, variants, 1, partitions)
		if err != nil {
			return nil, err
		}
		var out []figure
		for _, v := range variants {
			name := fmt.Sprintf("latency at 20 k records/s, %s, ", count(partitions, "partition"))
			if v == nullSink {
				out = append(out, bound{}.figure(name+"null sink", t, v))
				continue
			}
			out = append(out, bounds[partitions][v].figure(name+sync(v), t, v))
		}
		return out, nil
	}
}

func latencyReplicated(ctx context.Context, r *runner) ([]figure, error) {
	t, err := r.latencyTable(ctx, r.modes, 3, 12)
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, mode := range r.modes {
		out = append(out, bound{}.figure("latency at 20 k records/s, three nodes, RF 3, acks=all, "+sync(mode), t, mode))
	}
	return out, nil
}
