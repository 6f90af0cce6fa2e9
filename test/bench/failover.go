package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/quorate/quorate/cmd/quorate/bench"
	"github.com/quorate/quorate/test/lab"
)

// killsPerTurn is how many leaders are killed each time that a backend has its turn:
// 20 in the full form.
func (r *runner) killsPerTurn() int { return choose(r, 3, 5) }

// three starts three nodes with the default settings on a backend.
func (r *runner) three(ctx context.Context, backend string) (*server, error) {
	other := *r
	other.backend = backend
	s, err := other.start(ctx, r.modes[len(r.modes)-1], 3)
	r.count = other.count
	return s, err
}

// failover kills the broker that leads a partition, again and again, and measures how
// long its producer gets no acknowledgement.
func failover(ctx context.Context, r *runner) ([]figure, error) {
	t := table{}
	err := r.interleave(ctx, backends, func(backend string) error {
		s, err := r.three(ctx, backend)
		if err != nil {
			return err
		}
		defer s.stop()
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := s.cluster.CreateTopic(ctx, s.cluster.Node(1), "failover", 1, 3, nil); err != nil {
			return err
		}
		for range r.killsPerTurn() {
			gap, err := killLeader(ctx, s.cluster)
			if err != nil {
				return fmt.Errorf("%w\n%s", err, s.cluster.Logs(20))
			}
			t.add(backend, "s", gap.Seconds())
			fmt.Fprintf(r.log, "failover %-14s %.2f s\n", backend, gap.Seconds())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, b := range backends {
		s := t[b]["s"]
		out = append(out, judged(fmt.Sprintf("failover over %d kills, %s", len(s), b), "p50 <= 1 s, max <= 2 s",
			fmt.Sprintf("p50 %.2f s, max %.2f s", s.median(), s.max()), s.median() <= 1 && s.max() <= 2, t))
	}
	return out, nil
}

// killLeader returns the longest time without an acknowledgement.
func killLeader(ctx context.Context, c *lab.Cluster) (time.Duration, error) {
	w, err := lab.StartWorkload(ctx, c.Bootstrap(), "failover", 1, 200, 1)
	if err != nil {
		return 0, err
	}
	if err := w.AwaitProgress(ctx, 50); err != nil {
		return 0, err
	}
	leader, err := c.Leader(ctx, c.Node(1), "failover", 0)
	if err != nil {
		return 0, err
	}
	if err := leader.Kill(); err != nil {
		return 0, err
	}
	if err := w.AwaitProgress(ctx, 200); err != nil {
		return 0, err
	}
	gap := w.LongestGap()
	if err := w.Stop(ctx); err != nil {
		return 0, err
	}
	if err := leader.Start(); err != nil {
		return 0, err
	}
	if err := leader.AwaitReady(ctx); err != nil {
		return 0, err
	}
	return gap, leader.AwaitTopic(ctx, "failover", 3)
}

// pluginKilled kills the plugin of the active controller, and only that. Meanwhile
// records are written with acks=1 and read, and topics are created.
func pluginKilled(ctx context.Context, r *runner) ([]figure, error) {
	t := table{}
	err := r.interleave(ctx, backends, func(backend string) error {
		s, err := r.three(ctx, backend)
		if err != nil {
			return err
		}
		defer s.stop()
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		for i := range choose(r, 1, 3) {
			if err := r.killPlugin(ctx, s, t, backend, i); err != nil {
				return fmt.Errorf("%w\n%s", err, s.cluster.Logs(20))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, b := range backends {
		back, longest, failed := t[b]["metadata s"], t[b]["longest ms"], t[b]["lost or failed"]
		out = append(out, judged("kill -9 of the controller's plugin only, "+b, "serving throughout; metadata writes back <= 1 s",
			fmt.Sprintf("metadata writes after %s, max %.2f s; acks=1 writes and reads: %.0f failed, longest %.0f ms end to end", back.seen("%.2f s"), back.max(), failed.max(), longest.max()),
			back.max() <= 1 && failed.max() == 0 && longest.max() <= 1000, t))
	}
	return out, nil
}

// killPlugin does it once.
func (r *runner) killPlugin(ctx context.Context, s *server, t table, backend string, turn int) error {
	type outcome struct {
		got bench.EndToEndResult
		err error
	}
	done := make(chan outcome, 1)
	topic := fmt.Sprintf("served-%d", turn)
	go func() {
		var o outcome
		quiet := *s
		quiet.pids = nil
		o.err = r.load(ctx, &quiet, &o.got, "e2e", topic, "-p", "3", "-r", "3", "--acks", "1", "--rate", "500", "-d", "6s", "--warmup", "1s")
		done <- o
	}()
	if err := s.cluster.Node(1).AwaitTopic(ctx, topic, 3); err != nil {
		return err
	}
	wait := time.NewTimer(2 * time.Second) // the load is warm
	defer wait.Stop()
	select {
	case <-wait.C:
	case o := <-done:
		return fmt.Errorf("the load ended early: %w", o.err)
	}
	id, err := s.cluster.Controller(ctx, s.cluster.Node(1))
	if err != nil {
		return err
	}
	n := s.cluster.Node(id)
	if err := n.KillPlugin(); err != nil {
		return err
	}
	back, err := metadataBack(ctx, n, fmt.Sprintf("after-%d", turn))
	if err != nil {
		return err
	}
	o := <-done
	if o.err != nil {
		return o.err
	}
	failures := float64(o.got.Lost + o.got.Missing)
	for _, n := range o.got.Errors {
		failures += float64(n)
	}
	t.add(backend, "metadata s", back.Seconds())
	t.add(backend, "longest ms", o.got.EndToEndMillis.Max)
	t.add(backend, "lost or failed", failures)
	fmt.Fprintf(r.log, "plugin   %-14s metadata back after %.2f s, longest end to end %.0f ms, %v\n", backend, back.Seconds(), o.got.EndToEndMillis.Max, o.got.Errors)
	return nil
}

// metadataBack asks a node for a new topic every 20 ms, without waiting for the
// answers before, and returns when the first one was created.
func metadataBack(ctx context.Context, n *lab.Node, topic string) (time.Duration, error) {
	begun := time.Now()
	client, err := lab.Client(n.Client)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	created, refused := make(chan time.Duration, 1), make(chan error, 1)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for i := 0; ; i++ {
		go func() {
			resp, err := kadm.NewClient(client).CreateTopics(ctx, 1, 1, nil, fmt.Sprintf("%s-%d", topic, i))
			if err == nil {
				err = resp.Error()
			}
			if err != nil {
				offer(refused, err)
				return
			}
			offer(created, time.Since(begun))
		}()
		for waiting := true; waiting; {
			select {
			case d := <-created:
				return d, nil
			case last = <-refused:
			case <-tick.C:
				waiting = false
			case <-ctx.Done():
				return 0, fmt.Errorf("no topic could be created: %w", errors.Join(last, ctx.Err()))
			}
		}
	}
}

// offer puts v into a channel that has room for one, or forgets it.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}
