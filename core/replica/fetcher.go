package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/protocol"
)

// fetcher copies every partition that one broker leads and this one follows,
// with one goroutine and one fetch at a time.
//
// A fetch asks from the durable end of the log, so it is also the promise that
// everything before is on disk: what the leader counts for acks=all. Hence every
// round syncs what the last one appended before it asks for more.
type fetcher struct {
	m      *Manager
	leader int32
	log    *slog.Logger
	kick   chan struct{} // has a value after set

	mu        sync.Mutex
	want      map[*Partition]int32 // with their leader epochs; never changed, only replaced
	changes   int                  // how often want was replaced by one that asks for more
	interrupt context.CancelFunc   // of the fetch under way; nil if there is none

	// The rest belongs to run.
	pauses  map[*Partition]pause
	turns   int
	lane    int
	lastErr string
}

// lanes are the connections to the leader. There are two because answers keep
// their order on one: a fetch that was given up would hold back the next.
var lanes = [...]string{"fetch", "fetch-2"}

// pause is how a partition that failed waits.
type pause struct {
	until time.Time
	tries int
	epoch int32 // of the leader that it failed with
}

func newFetcher(m *Manager, leader int32) *fetcher {
	return &fetcher{
		m:      m,
		leader: leader,
		log:    m.log.With("leader", leader),
		kick:   make(chan struct{}, 1),
		pauses: map[*Partition]pause{},
	}
}

// set says what to fetch from now on. A fetch that does not ask for all of it is
// given up: it could wait for data of others while a new partition waits for it.
func (f *fetcher) set(want map[*Partition]int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	more := false
	for p, epoch := range want {
		if had, ok := f.want[p]; !ok || had != epoch {
			more = true
		}
	}
	f.want = want
	if !more {
		return
	}
	f.changes++
	if f.interrupt != nil {
		f.interrupt()
	}
	wake(f.kick)
}

// run fetches until ctx ends.
func (f *fetcher) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		positions, changes := f.prepare(ctx, time.Now())
		if len(positions) == 0 {
			f.rest(ctx, f.nextTry(time.Now(), f.m.cfg.BackoffMax))
			continue
		}
		resp, err := f.fetch(ctx, f.request(positions), changes)
		switch {
		case errors.Is(err, errInterrupted):
			f.lane = (f.lane + 1) % len(lanes)
		case err != nil && ctx.Err() == nil:
			failures++
			f.failed(err)
			f.rest(ctx, f.m.backoff(failures))
		case err == nil:
			failures, f.lastErr = 0, ""
			f.apply(positions, resp)
		}
	}
}

// failed logs a fetch that failed as a whole, each reason once in a row.
func (f *fetcher) failed(err error) {
	f.m.metrics.fetchErrors.Inc()
	if text := err.Error(); text != f.lastErr {
		f.lastErr = text
		f.log.Warn("cannot fetch from leader", "error", err)
	}
}

// rest waits for d or for a change of what to fetch.
func (f *fetcher) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-f.kick:
	case <-timer.C:
	}
}

// nextTry is how long until a paused partition may be fetched again, most if
// there is none.
func (f *fetcher) nextTry(now time.Time, most time.Duration) time.Duration {
	next := most
	for _, p := range f.pauses {
		next = min(next, max(p.until.Sub(now), time.Millisecond))
	}
	return next
}

// backoff is the pause after a number of failures in a row: doubled each time,
// and spread over its upper half so that followers do not come back together.
func (m *Manager) backoff(failures int) time.Duration {
	d := m.cfg.BackoffMax
	if failures < 16 {
		d = min(d, m.cfg.BackoffMin<<(failures-1))
	}
	return d/2 + rand.N(d/2+1)
}

// prepare makes the logs durable, and returns from where to fetch which.
func (f *fetcher) prepare(ctx context.Context, now time.Time) (map[*Partition]position, int) {
	f.mu.Lock()
	want, changes := f.want, f.changes
	f.mu.Unlock()
	maps.DeleteFunc(f.pauses, func(p *Partition, at pause) bool {
		epoch, ok := want[p]
		return !ok || epoch != at.epoch
	})
	positions := make(map[*Partition]position, len(want))
	var dirty []*Partition
	for p := range want {
		if f.pauses[p].until.After(now) {
			continue
		}
		if pos, ok := p.position(f.leader); ok {
			positions[p] = pos
			if p.wal.Safe() < pos.offset {
				dirty = append(dirty, p)
			}
		}
	}
	f.sync(ctx, dirty)
	for _, p := range dirty {
		if p.wal.Safe() < positions[p].offset {
			delete(positions, p) // the disk failed, or the broker is stopping
		}
	}
	return positions, changes
}

// sync makes logs durable, a bounded number at a time.
func (f *fetcher) sync(ctx context.Context, dirty []*Partition) {
	var g errgroup.Group
	g.SetLimit(f.m.cfg.SyncParallel)
	for _, p := range dirty {
		g.Go(func() error {
			p.syncLog(ctx)
			return nil
		})
	}
	_ = g.Wait() // syncLog keeps its errors
}

// errInterrupted says that a fetch was given up because there is more to fetch.
var errInterrupted = errors.New("fetch interrupted")

// fetch sends a request and waits for the answer.
func (f *fetcher) fetch(ctx context.Context, req *kmsg.FetchRequest, changes int) (*kmsg.FetchResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, f.m.cfg.FetchMaxWait+f.m.cfg.FetchTimeout)
	defer cancel()
	if !f.begin(cancel, changes) {
		return nil, errInterrupted
	}
	resp, err := f.m.peers.Request(ctx, f.leader, lanes[f.lane], req)
	if interrupted := f.end(changes); err != nil {
		if interrupted {
			return nil, errInterrupted
		}
		return nil, err
	}
	fetched, ok := resp.(*kmsg.FetchResponse)
	switch {
	case !ok:
		return nil, fmt.Errorf("fetch was answered with %T", resp)
	case fetched.ErrorCode != 0:
		return nil, protocol.Errorf(protocol.ErrorCode(fetched.ErrorCode), "broker %d refused a fetch", f.leader)
	}
	return fetched, nil
}

// begin lets set interrupt the fetch; false if it is out of date already.
func (f *fetcher) begin(cancel context.CancelFunc, changes int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes != changes {
		return false
	}
	f.interrupt = cancel
	return true
}

func (f *fetcher) end(changes int) (interrupted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.interrupt = nil
	return f.changes != changes
}
