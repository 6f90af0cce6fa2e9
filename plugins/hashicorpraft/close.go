package hashicorpraft

import (
	"context"
	"errors"
	"time"

	"github.com/quorate/quorate/consensus"
)

// Close stops the group, after what is in flight was answered. A leader without
// a quorum answers that when its lease has run out.
func (g *group) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*g.b.cfg.Timing.ElectionTimeout)
	defer cancel()
	return g.close(ctx)
}

func (g *group) close(ctx context.Context) error {
	g.closing.Do(func() { g.closeErr = g.closeOnce(ctx) })
	return g.closeErr
}

func (g *group) closeOnce(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	g.leadership = consensus.Leadership{Term: g.leadership.Term}
	close(g.led)
	g.led = make(chan struct{})
	close(g.more)
	g.more = make(chan struct{})
	close(g.queue)
	g.mu.Unlock()

	select {
	case <-g.completed:
	case <-ctx.Done():
	case <-time.After(4 * g.b.cfg.Timing.ElectionTimeout): // the library may never answer; see abandon
	}
	err := g.shutDown()
	g.transport.CloseStreams()
	close(g.stopWatch)
	g.running.Wait()
	g.abandon()
	err = errors.Join(err, g.transport.Close(), g.closeFiles())
	g.b.mu.Lock()
	g.b.group = nil
	g.b.mu.Unlock()
	return err
}

// shutDown stops the library, which would wait for peers that do not answer: if
// it takes longer than an election, what goes over the network ends.
func (g *group) shutDown() error {
	down := make(chan error, 1)
	go func() { down <- g.raft.Shutdown().Error() }()
	select {
	case err := <-down:
		return err
	case <-time.After(g.b.cfg.Timing.ElectionTimeout):
	}
	g.transport.layer.cut()
	return <-down
}

// abandon answers what the library left unanswered when it was shut down:
// nobody knows what became of it.
func (g *group) abandon() {
	g.mu.Lock()
	var left []*flightState
	for s := range g.flights {
		left = append(left, s)
	}
	g.mu.Unlock()
	for _, s := range left {
		g.answer(s, consensus.Result{Err: consensus.ErrUnavailable})
	}
}

func (g *group) closeFiles() error {
	if g.store == nil {
		return nil
	}
	return g.store.wal.Close()
}
