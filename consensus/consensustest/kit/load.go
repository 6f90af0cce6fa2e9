package kit

import (
	"context"
	"fmt"
	"time"

	"github.com/quorate/quorate/consensus"
)

// commit has count commands committed, up to inflight at a time, whatever
// happens to leaders meanwhile. None is ever proposed twice.
func (l *lab) commit(count, inflight int) {
	want := l.checks.count() + count
	progress, last := time.Now(), 0
	for {
		have := l.checks.count()
		if have >= want {
			return
		}
		if have > last {
			progress, last = time.Now(), have
		}
		if time.Since(progress) > l.opts.Patience {
			l.giveUp("P3", "nothing was committed for %s%s", l.opts.Patience, l.status())
		}
		n, at := l.leader()
		l.pipeline(n, at, want-have, inflight)
	}
}

// pipeline proposes count commands through n, or until one is not committed.
func (l *lab) pipeline(n *node, at consensus.Leadership, count, inflight int) {
	var window []<-chan consensus.Result
	going := true
	for i := 0; going && i < count; i++ {
		window = append(window, l.propose(n, at.Term, l.command()))
		if len(window) == inflight {
			going = l.await(window[0]).Outcome == consensus.Committed
			window = window[1:]
		}
	}
	for _, w := range window {
		going = l.await(w).Outcome == consensus.Committed && going
	}
	if !going {
		l.pause(5 * time.Millisecond)
	}
}

// mustCommit is for clusters of one, where nobody can take the lead away.
func (l *lab) mustCommit(results <-chan consensus.Result) {
	if r := l.await(results); r.Outcome != consensus.Committed {
		l.giveUp("P3", "a leader that is ready, and stays so, answers %s: %v", r.Outcome, r.Err)
	}
}

// converge waits until every node that is up has applied everything that was
// COMMITTED. A backlog takes as long as it takes: the kit loses its patience with a
// node that does not move on.
func (l *lab) converge() {
	target := l.checks.highestCommitted()
	for _, n := range l.nodes {
		if !n.up() || n.removed {
			continue
		}
		reached := l.whileProgress(n.applied, func() bool { return n.applied() >= target })
		missing, at := l.missing(n, target)
		if missing == "" {
			continue
		}
		rule := "S1"
		if !reached && n.applied() < at && l.somebodyHas(at) {
			rule = "D1"
		}
		l.giveUp(rule, "%q was committed at %d, and is not delivered on replica %d%s", missing, at, n.id, l.status())
	}
}

// somebodyHas tells whether any log reaches up to index: if not, it was lost.
func (l *lab) somebodyHas(index uint64) bool {
	for _, n := range l.nodes {
		if c := n.client(); c != nil {
			ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
			s, err := c.Status(ctx, consensus.Metadata)
			cancel()
			if err != nil || s.LastIndex >= index {
				return true
			}
		}
	}
	return false
}

// missing returns a command that was COMMITTED, up to the index last, and that n has
// not applied. It looks through all of them, and n stands still meanwhile.
func (l *lab) missing(n *node, last uint64) (command string, index uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return l.checks.undelivered(n.state.Applied, last)
}

// load proposes in the background until stop is called, which returns how many
// proposals were committed.
func (l *lab) load(inflight int) (stop func() int) { return l.pacedLoad(inflight, 0) }

// pacedLoad is load with a pause behind every proposal: what is proposed for long
// must be remembered by the kit, all of it.
func (l *lab) pacedLoad(inflight int, pause time.Duration) (stop func() int) {
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan int, 1)
	slots := make(chan struct{}, inflight)
	l.background.Go(func() {
		before := l.checks.count()
		for ctx.Err() == nil {
			n, at := l.ready()
			if n == nil {
				wait(ctx, 2*time.Millisecond)
				continue
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				continue
			}
			results := l.propose(n, at.Term, l.command())
			if pause > 0 {
				wait(ctx, pause)
			}
			l.background.Go(func() {
				if r := <-results; r.Outcome != consensus.Committed {
					wait(ctx, 5*time.Millisecond)
				}
				<-slots
			})
		}
		done <- l.checks.count() - before
	})
	return func() int {
		cancel()
		return <-done
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// readIndex asks n for a read index and gives it d.
func (l *lab) readIndex(n *node, d time.Duration) (index, term uint64, err error) {
	c := n.client()
	if c == nil {
		return 0, 0, fmt.Errorf("replica %d is down: %w", n.id, consensus.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(l.ctx, d)
	defer cancel()
	return c.ReadIndex(ctx, consensus.Metadata)
}
