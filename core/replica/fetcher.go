package replica

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// fetcher copies every partition that one broker leads and this one follows,
// with one goroutine and one fetch at a time.
//
// A fetch asks from the end of the log, whose last part may still be on its way to
// the disk, and says beside it up to where it is durable: what the leader counts for
// acks=all. What becomes durable while a fetch waits is said by a report (report.go).
type fetcher struct {
	m      *Manager
	leader int32
	log    *slog.Logger
	kick   chan struct{} // has a value after set

	asking  atomic.Bool   // a fetch was made up, and not answered: later news is not in it
	reports *partitionSet // whose durable end moved meanwhile

	mu        sync.Mutex
	want      map[*Partition]int32 // with their leader epochs; never changed, only replaced
	changes   int                  // how often want was replaced by one that asks for more
	interrupt context.CancelFunc   // of the fetch under way; nil if there is none

	// The rest belongs to run.
	pauses  map[*Partition]pause
	session session
	buffer  fetchBuffer
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
		m:       m,
		leader:  leader,
		log:     m.log.With("leader", leader),
		kick:    make(chan struct{}, 1),
		reports: newPartitionSet(),
		pauses:  map[*Partition]pause{},
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
		p.fetcher.Store(f)
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
	var reporting sync.WaitGroup
	reporting.Go(func() { f.runReports(ctx) })
	defer reporting.Wait()
	failures := 0
	for ctx.Err() == nil {
		f.asking.Store(true)
		now := time.Now()
		positions, changes := f.prepare(now)
		if len(positions) == 0 {
			f.rest(ctx, f.nextTry(now, f.m.cfg.BackoffMax))
			continue
		}
		resp, err := f.fetch(ctx, f.request(positions, now), changes)
		f.asking.Store(false)
		switch {
		case errors.Is(err, errInterrupted):
			f.lane = (f.lane + 1) % len(lanes)
			f.session.lost()
		case f.session.sessionOver(err):
			f.session.lost()
		case err != nil && ctx.Err() == nil:
			failures++
			f.session.lost()
			f.failed(err)
			f.rest(ctx, f.m.backoff(failures))
		case err == nil:
			failures, f.lastErr = 0, ""
			f.session.answered(resp)
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

// nextTry is how long until a partition that pauses now may be fetched again, most if
// there is none.
func (f *fetcher) nextTry(now time.Time, most time.Duration) time.Duration {
	next := most
	for _, p := range f.pauses {
		if p.until.After(now) {
			next = min(next, max(p.until.Sub(now), time.Millisecond))
		}
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

// prepare returns from where to fetch which.
func (f *fetcher) prepare(now time.Time) (map[*Partition]position, int) {
	f.mu.Lock()
	want, changes := f.want, f.changes
	f.mu.Unlock()
	maps.DeleteFunc(f.pauses, func(p *Partition, at pause) bool {
		epoch, ok := want[p]
		return !ok || epoch != at.epoch
	})
	positions := make(map[*Partition]position, len(want))
	for p := range want {
		if f.pauses[p].until.After(now) {
			continue
		}
		if pos, ok := p.position(f.leader); ok {
			positions[p] = pos
		}
	}
	return positions, changes
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
	resp, memory, err := f.send(ctx, lanes[f.lane], req, f.buffer.take())
	f.buffer.put(memory)
	if f.end(changes) && err != nil {
		return nil, errInterrupted
	}
	return resp, err
}

// send is one request and its answer.
func (f *fetcher) send(ctx context.Context, lane string, req *kmsg.FetchRequest, buffer []byte) (*kmsg.FetchResponse, []byte, error) {
	resp, memory, err := f.m.peers.Fetch(ctx, f.leader, lane, req, buffer)
	if err == nil && resp.ErrorCode != 0 {
		err = protocol.Errorf(protocol.ErrorCode(resp.ErrorCode), "broker %d refused a fetch", f.leader)
	}
	return resp, memory, err
}

// fetchBuffer is the memory of the last answer, for the next one: what came was copied
// into the logs by then. It is let go when answers are small for a while.
type fetchBuffer struct {
	memory []byte
	small  int // answers in a row that took less than a quarter of it
}

// smallAnswers is how many of them let a buffer go.
const smallAnswers = 64

func (b *fetchBuffer) take() []byte {
	memory := b.memory
	b.memory = nil
	return memory
}

func (b *fetchBuffer) put(memory []byte) {
	if len(memory) >= cap(memory)/4 {
		b.small = 0
	} else if b.small++; b.small >= smallAnswers {
		b.small, memory = 0, nil
	}
	b.memory = memory
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
