package hashicorpraft

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

const benchSegment = 16 << 20

// BenchmarkCommits has rounds of proposals of 256 bytes committed on two groups of
// one replica, one on each store, in turn: what else the machine does meets both.
// It reports, per store, how long a round took and what it comes to per second. The
// first segments are written before: those of a new segment log grow, and only the
// ones after are prepared ahead.
func BenchmarkCommits(b *testing.B) {
	stores := []string{storeSegments, storeRaftWAL}
	for _, inflight := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("%d in flight", inflight), func(b *testing.B) {
			var rounds []func()
			for _, name := range stores {
				rounds = append(rounds, committer(b, name, inflight))
			}
			took := make([][]time.Duration, len(stores))
			for b.Loop() {
				for i, round := range rounds {
					began := time.Now()
					round()
					took[i] = append(took[i], time.Since(began))
				}
			}
			for i, name := range stores {
				slices.Sort(took[i])
				sum := time.Duration(0)
				for _, d := range took[i] {
					sum += d
				}
				n := len(took[i])
				b.ReportMetric(float64(took[i][n/2].Microseconds()), name+"-p50-µs")
				b.ReportMetric(float64(took[i][n*99/100].Microseconds()), name+"-p99-µs")
				b.ReportMetric(float64(n*inflight)/sum.Seconds(), name+"-commits/s")
			}
		})
	}
}

// committer starts a group of one on the store called name.
func committer(b *testing.B, name string, inflight int) (round func()) {
	backend := newBackend()
	backend.fatal = func(err error) { b.Errorf("fatal: %v", err) }
	if err := backend.Start(b.Context(), consensus.StartConfig{
		ReplicaID: 1, DataDir: b.TempDir(), Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"},
		Timing: consensus.DefaultTiming(), Options: fmt.Appendf(nil, `{"log_store": %q, "log_segment_bytes": %d}`, name, benchSegment),
	}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := backend.Stop(b.Context()); err != nil {
			b.Error(err)
		}
	})
	g, err := backend.OpenGroup(b.Context(), consensus.GroupSpec{
		ID: consensus.Metadata, Mode: consensus.OpenBootstrap, Members: []consensus.Member{{ReplicaID: 1, Role: consensus.Voter}},
	})
	if err != nil {
		b.Fatal(err)
	}
	l, changed := g.Leadership()
	for l.Role != consensus.LeaderReady {
		<-changed
		l, changed = g.Leadership()
	}
	results := make(chan consensus.Result, 256)
	commit := func(data []byte, inflight int) {
		for range inflight {
			g.Propose(l.Term, data, func(r consensus.Result) { results <- r })
		}
		for range inflight {
			if r := <-results; r.Outcome != consensus.Committed {
				b.Fatalf("%+v", r)
			}
		}
	}
	large := make([]byte, 64<<10)
	for written := 0; written < 3*benchSegment; written += 16 * len(large) {
		commit(large, 16)
	}
	data := make([]byte, 256)
	return func() { commit(data, inflight) }
}
