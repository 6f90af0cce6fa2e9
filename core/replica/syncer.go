package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/core/wal"
)

// syncer makes logs durable after appends, a bounded number at a time. A
// partition that is appended to while it is synced gets another round, so one
// fdatasync covers what came together, without a timer.
//
// The queue holds each partition once, so it is bounded by how many there are.
type syncer struct {
	mu    sync.Mutex
	queue []*Partition
	kick  chan struct{} // has a value after an add
}

func newSyncer() *syncer { return &syncer{kick: make(chan struct{}, 1)} }

// add has the partition's log synced up to its end as of now, or later.
func (s *syncer) add(p *Partition) {
	p.dirty.Store(true)
	if p.queued.CompareAndSwap(false, true) {
		s.push(p)
	}
}

func (s *syncer) push(p *Partition) {
	s.mu.Lock()
	s.queue = append(s.queue, p)
	s.mu.Unlock()
	wake(s.kick)
}

// pop returns the partition that waits for the longest, or nil. If there are more
// it wakes another worker.
func (s *syncer) pop() *Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	p := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	if len(s.queue) > 0 {
		wake(s.kick)
	}
	return p
}

// run starts the workers in g.
func (s *syncer) run(ctx context.Context, g *errgroup.Group, workers int) {
	for range workers {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-s.kick:
				}
				for p := s.pop(); p != nil && ctx.Err() == nil; p = s.pop() {
					s.sync(ctx, p)
				}
			}
		})
	}
}

// sync is one round for one partition.
func (s *syncer) sync(ctx context.Context, p *Partition) {
	p.dirty.Store(false)
	p.syncLog(ctx)
	if p.dirty.Load() {
		s.push(p) // behind the others
		return
	}
	p.queued.Store(false)
	if p.dirty.Load() && p.queued.CompareAndSwap(false, true) {
		s.push(p)
	}
}

// committed is called after the commit log has made more of the log durable, or has
// failed.
func (p *Partition) committed() {
	if p.leadership.Load() == nil {
		return // not open yet, or not here any more
	}
	if err := p.wal.Err(); err != nil && !errors.Is(err, wal.ErrClosed) {
		p.fail(fmt.Errorf("commit %s: %w", p, err))
		return
	}
	now := time.Now()
	p.synced.note(p.wal.Durable(), now)
	p.syncs.reached(p.wal.Safe())
	p.advanceHighWatermark(now)
	p.reportDurable()
}

// syncLog makes everything up to the end durable and lets those know who wait.
func (p *Partition) syncLog(ctx context.Context) {
	err := p.syncUpToEnd(ctx)
	switch {
	case err == nil:
		p.syncs.reached(p.wal.Safe())
		p.advanceHighWatermark(time.Now())
		p.reportDurable()
	case ctx.Err() != nil, errors.Is(err, wal.ErrClosed):
	default:
		p.fail(fmt.Errorf("sync %s: %w", p, err))
	}
}

// syncUpToEnd syncs what there is at the moment. A follower may truncate between
// the look at the end and the sync; then it looks again.
func (p *Partition) syncUpToEnd(ctx context.Context) error {
	for {
		end := p.wal.End()
		if p.wal.Durable() >= end {
			return nil
		}
		if err := p.wal.Sync(ctx, end); !errors.Is(err, wal.ErrOffsetOutOfRange) {
			return err
		}
	}
}
