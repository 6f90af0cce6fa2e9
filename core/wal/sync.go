package wal

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// commits joins callers of Sync into rounds: while one round runs, all who come
// wait for the next, which one of them runs when the first is done. There is no
// timer: how long a round collects is how long the disk works.
type commits struct {
	mu      sync.Mutex
	running bool   // a round runs, or its token waits in next
	next    *round // who comes now joins it; nil if nobody has yet
}

// round is one sync on behalf of everybody who joined.
type round struct {
	token chan struct{} // who takes it runs the round; capacity 1
	done  chan struct{} // closed when the round is over and err is set
	err   error
}

func newRound() *round {
	return &round{token: make(chan struct{}, 1), done: make(chan struct{})}
}

// join returns the round that begins after everything the caller did.
func (c *commits) join() *round {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = newRound()
	}
	if !c.running {
		c.running = true
		c.next.token <- struct{}{}
	}
	return c.next
}

// run runs r, whose token the caller took, and hands on to those who came meanwhile.
func (c *commits) run(r *round, sync func() error) {
	c.mu.Lock()
	c.next = nil // from here on others are too late for r
	c.mu.Unlock()
	r.err = sync()
	c.mu.Lock()
	if c.next != nil {
		c.next.token <- struct{}{}
	} else {
		c.running = false
	}
	c.mu.Unlock()
	close(r.done)
}

// Sync returns once everything before offset end is on stable storage: its
// records, the leader epochs that they need, the segments before them. Callers
// that meet share one fdatasync.
//
// A sync that fails is final: Sync answers ErrFailed for ever after. If ctx ends
// first its error is returned, and the records may become durable or not. If the
// log was truncated below end meanwhile, or never had it, ErrOffsetOutOfRange.
func (l *Log) Sync(ctx context.Context, end int64) error {
	if l.durable.Load() >= end {
		return nil
	}
	if err := l.Err(); err != nil {
		return err
	}
	if l.framing() {
		return l.awaitCommit(ctx, end)
	}
	r := l.commits.join()
	select {
	case <-r.token:
		l.commits.run(r, l.syncRound)
	case <-r.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.err != nil {
		return r.err
	}
	if d := l.durable.Load(); d < end {
		return fmt.Errorf("%w: sync up to %d, the log ends at %d", ErrOffsetOutOfRange, end, d)
	}
	return nil
}

// syncRound makes everything before the present end durable.
func (l *Log) syncRound() error {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	return l.syncLocked()
}

// syncLocked is syncRound under roundMu. Its order is what recovery stands on: a
// segment is complete on disk before any record behind it counts, and the
// recovery point says so before the first of them is acknowledged.
func (l *Log) syncLocked() error {
	if err := l.Err(); err != nil {
		return err
	}
	end := l.end.Load() // before the view, which then has all of it
	v := l.view.Load()
	if end == l.flushed && !l.dirDirty.Load() && !l.epochs.dirty.Load() {
		return nil
	}
	if err := l.syncBefore(v); err != nil {
		return err
	}
	c := l.checkpoint
	c.recoveryPoint = v.active().base
	if err := l.saveCheckpoint(c); err != nil {
		return l.fail("write checkpoint", err)
	}
	if err := v.active().file.Sync(); err != nil {
		return l.fail("sync", err)
	}
	l.flushed = end
	l.raiseDurable(end)
	return nil
}

// syncBefore makes durable what belongs to the log beside its active segment.
func (l *Log) syncBefore(v *view) error {
	if err := l.syncSealed(v); err != nil {
		return l.fail("sync sealed segment", err)
	}
	if l.dirDirty.Swap(false) {
		if err := l.fsys.SyncDir(l.dir); err != nil {
			return l.fail("sync directory", err)
		}
	}
	if err := l.saveEpochs(); err != nil {
		return l.fail("write leader epochs", err)
	}
	return nil
}

// syncSealed makes the sealed segments of v durable that are not, the oldest
// first, each with the producer snapshot that its end has.
func (l *Log) syncSealed(v *view) error {
	first := len(v.segments) - 1
	for first > 0 && !v.segments[first-1].sealedSynced {
		first--
	}
	for i := first; i < len(v.segments); i++ {
		s := v.segments[i]
		if !s.headSynced {
			if err := l.syncSnapshot(s.base); err != nil {
				return err
			}
			s.headSynced = true
		}
		if i == len(v.segments)-1 {
			break
		}
		if err := s.sync(); err != nil {
			return err
		}
		s.sealedSynced = true
	}
	return nil
}

// syncSnapshot makes the content of the snapshot at offset durable, if there is one.
func (l *Log) syncSnapshot(offset int64) (err error) {
	f, err := l.fsys.OpenFile(offsetName(l.dir, offset, snapshotSuffix), os.O_RDWR)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return joinClose(f.Sync(), f)
}
