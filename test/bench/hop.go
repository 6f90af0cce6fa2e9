package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	gosync "sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
	"github.com/quorate/quorate/test/lab"
)

// backends are the ones that are equals.
var backends = []string{"etcd-raft", "hashicorp-raft"}

// hopBytes is the size of a proposal, and hopsInFlight how many are under way when
// throughput is measured.
const (
	hopBytes     = 256
	hopsInFlight = 256
)

// hop measures the way from the broker to the plugin's process and back: over the
// same stream, with the same mutual TLS, but with proposals of a term that is not,
// which are refused before consensus hears of them.
func hop(ctx context.Context, r *runner) ([]figure, error) {
	t := table{}
	err := r.interleave(ctx, backends, func(backend string) error {
		return r.onBackend(ctx, backend, func(h *host.Host, term uint64) error { return r.hops(ctx, h, term, t, backend) })
	})
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, b := range backends {
		p50, rate := t[b]["p50 ms"], t[b]["hops/s"]
		out = append(out, judged("plugin hop, 256 B, "+b, "p50 <= 0.25 ms, >= 50 k/s at 256 in flight",
			fmt.Sprintf("p50 %s, p99 %s; %s", p50.seen("%.3f ms"), t[b]["p99 ms"].seen("%.2f ms"), rate.seen("%.0f/s")),
			p50.median() <= 0.25 && rate.median() >= 50_000, t))
	}
	return out, nil
}

// onBackend runs a backend as a single node, as a broker does, until do returns.
func (r *runner) onBackend(ctx context.Context, backend string, do func(h *host.Host, term uint64) error) error {
	c, err := r.cluster(1, nil) // for its directory, and its ports
	if err != nil {
		return err
	}
	defer r.discard(c)
	n := c.Node(1)
	if err := os.MkdirAll(n.DataDir(), 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	h, err := host.Launch(ctx, hostSpec(r.binary, backend, n), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- h.Run(running) }()
	term, err := awaitLeader(ctx, h)
	if err == nil {
		err = do(h, term)
	}
	stop()
	return errors.Join(err, <-ended)
}

func hostSpec(binary, backend string, n *lab.Node) host.Spec {
	return host.Spec{
		Name: host.External, Path: binary, Args: []string{"plugin", "serve", backend}, RunDir: n.Dir + "/run",
		Start: consensus.StartConfig{
			ClusterID: "bench", ReplicaID: 1, BrokerID: 1, DataDir: n.DataDir(), SessionID: uuid.NewString(),
			Peer:   consensus.PeerEndpoint{Listen: n.Raft, Advertise: n.Raft},
			Timing: consensus.Timing{Heartbeat: 50 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond},
		},
		Groups: []consensus.GroupSpec{{
			ID: consensus.Metadata, Name: "metadata", Mode: consensus.OpenBootstrap,
			Members: []consensus.Member{{ReplicaID: 1, BrokerID: 1, Address: n.Raft, Role: consensus.Voter}},
			Tuning:  consensus.GroupTuning{RetainEntries: 2000},
		}},
	}
}

func awaitLeader(ctx context.Context, h *host.Host) (term uint64, err error) {
	for {
		l, changed := h.LeaderFor(consensus.Metadata)
		if l.Role == consensus.LeaderReady {
			return l.Term, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("wait for a leader: %w", ctx.Err())
		}
	}
}

// hops measures one at a time, then many.
func (r *runner) hops(ctx context.Context, h *host.Host, term uint64, t table, backend string) error {
	var sequence atomic.Uint64
	once := func() error {
		result := h.Propose(ctx, consensus.Proposal{Group: consensus.Metadata, Term: term + 1000, Sequence: sequence.Add(1), Data: make([]byte, hopBytes)})
		if result.Outcome != consensus.Rejected || !errors.Is(result.Err, consensus.ErrTermMismatch) {
			return fmt.Errorf("a proposal of another term was %v: %w", result.Outcome, result.Err)
		}
		return nil
	}
	var times []time.Duration
	for range choose(r, 3000, 20_000) {
		begun := time.Now()
		if err := once(); err != nil {
			return err
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	t.add(backend, "p50 ms", ms(times[len(times)/2]))
	t.add(backend, "p99 ms", ms(times[len(times)*99/100]))
	count, failed := int64(choose(r, 100_000, 500_000)), atomic.Pointer[error]{}
	begun := time.Now()
	var left atomic.Int64
	left.Store(count)
	var wg gosync.WaitGroup
	for range hopsInFlight {
		wg.Go(func() {
			for left.Add(-1) >= 0 && failed.Load() == nil {
				if err := once(); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	t.add(backend, "hops/s", float64(count)/time.Since(begun).Seconds())
	fmt.Fprintf(r.log, "hop      %-14s p50 %.3f ms, p99 %.3f ms, %.0f/s\n", backend, ms(times[len(times)/2]), ms(times[len(times)*99/100]), float64(count)/time.Since(begun).Seconds())
	return nil
}

// commit is the performance card of the conformance kit: commits as the broker makes
// them, one at a time, on one replica and on three.
func commit(ctx context.Context, r *runner) ([]figure, error) {
	t := table{}
	err := r.interleave(ctx, backends, func(backend string) error {
		args := []string{"plugin", "verify", backend, "--only", "performance card", "--level", "2", "-o", "json"}
		if !r.full {
			args = append(args, "--quick")
		}
		out, err := exec.CommandContext(ctx, r.binary, args...).Output()
		if err != nil {
			return fmt.Errorf("quorate %s: %w\n%s", strings.Join(args, " "), err, firstBytes(string(out)))
		}
		var report struct {
			Cases []struct {
				Name    string             `json:"name"`
				Figures map[string]float64 `json:"figures"`
			} `json:"cases"`
		}
		if err := json.Unmarshal(out, &report); err != nil {
			return fmt.Errorf("the report of the kit: %w", err)
		}
		for _, c := range report.Cases {
			_, replicas, _ := strings.Cut(c.Name, ", ") // one replica, three replicas
			for thing, v := range c.Figures {
				t.add(backend+", "+replicas, thing, v)
			}
			fmt.Fprintf(r.log, "commit   %-14s %s: p50 %.2f, p99 %.2f ms\n", backend, replicas, c.Figures["commit_p50_ms"], c.Figures["commit_p99_ms"])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, b := range backends {
		out = append(out, commitFigure(t, b, "one replica", 1), commitFigure(t, b, "three replicas", 2.5))
	}
	out[0].Samples = t
	return out, nil
}

// commitFigure is one line; p50 is to be reached, in milliseconds.
func commitFigure(t table, backend, replicas string, p50 float64) figure {
	at := t[backend+", "+replicas]
	half, most := at["commit_p50_ms"], at["commit_p99_ms"]
	return judged(fmt.Sprintf("metadata commit, %s, %s", replicas, backend), fmt.Sprintf("p50 <= %g ms, p99 <= 10 ms", p50),
		fmt.Sprintf("p50 %s, p99 %s; %s at 256 in flight", half.seen("%.2f ms"), most.seen("%.1f ms"), at["commits_per_second_256_in_flight"].seen("%.0f/s")),
		len(half) > 0 && half.median() <= p50 && most.median() <= 10, nil)
}
