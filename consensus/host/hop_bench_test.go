package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// BenchmarkHop is the way from this process to the plugin's and back, with
// proposals of 256 bytes that are refused at the door: what the boundary costs, and
// nothing of consensus. At one in flight it tells the latency, at many the CPU.
//
//	go test -run xxx -bench Hop -benchmem -count 5 ./consensus/host
func BenchmarkHop(b *testing.B) {
	spec := specIn(b.TempDir())
	spec.Env = map[string]string{windowKey: "1024"}
	h, err := Launch(b.Context(), spec, discard())
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		<-ended
	})
	var sequence atomic.Uint64
	once := func() error {
		r := h.Propose(b.Context(), consensus.Proposal{
			Group: consensus.Metadata, Term: 1 << 40, Sequence: sequence.Add(1), Data: make([]byte, 256),
		})
		if r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrTermMismatch) {
			return fmt.Errorf("a proposal of another term was %v: %w", r.Outcome, r.Err)
		}
		return nil
	}
	b.Run("1 in flight", func(b *testing.B) {
		times := make([]time.Duration, 0, 1<<20)
		for b.Loop() {
			begun := time.Now()
			if err := once(); err != nil {
				b.Fatal(err)
			}
			if len(times) < cap(times) {
				times = append(times, time.Since(begun))
			}
		}
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "p50-ns")
		b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds()), "p99-ns")
	})
	b.Run("256 in flight", func(b *testing.B) {
		b.SetParallelism(128) // times GOMAXPROCS
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := once(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
