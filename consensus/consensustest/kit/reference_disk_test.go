package kit_test

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/faults"
)

// slowDisk puts the injected faults between a replica's proposals and its log.
type slowDisk struct {
	b     *replica
	queue chan func()
	done  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	failed bool
	queued int
}

func newSlowDisk(b *replica) *slowDisk {
	d := &slowDisk{b: b, queue: make(chan func(), 4096)}
	d.done.Go(func() {
		for work := range d.queue {
			work()
		}
	})
	return d
}

func (d *slowDisk) close() {
	if d == nil {
		return
	}
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.queue)
	}
	d.mu.Unlock()
	d.done.Wait()
}

func (d *slowDisk) propose(term uint64, data []byte, done func(consensus.Result)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed || d.failed:
		go done(consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrShuttingDown})
		return
	case d.b.r.wrong.smallWindow && d.queued > 100:
		go done(consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrOverloaded})
		return
	}
	d.queued++
	d.queue <- func() { d.write(term, data, done) }
}

func (d *slowDisk) write(term uint64, data []byte, done func(consensus.Result)) {
	began := time.Now()
	err := errors.Join(d.b.faults.Before(faults.Write), d.b.faults.Before(faults.Sync))
	d.mu.Lock()
	d.queued--
	if err != nil && !d.b.r.wrong.ignoresFaults {
		d.failed = true
	}
	failed := d.failed
	d.mu.Unlock()
	if failed {
		d.giveUp()
		done(consensus.Result{Outcome: consensus.Unknown, Err: fmt.Errorf("%w: %w", consensus.ErrTimeout, err)})
		return
	}
	if d.b.r.wrong.electsWhenSlow && time.Since(began) > 100*time.Millisecond {
		d.giveUp()
	}
	d.b.propose(term, data, done)
}

// giveUp takes the lead from the replica.
func (d *slowDisk) giveUp() {
	c := d.b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader != d.b.id {
		return
	}
	c.leader = 0
	if d.failed {
		delete(c.up, d.b.id)
	}
	c.settle()
}
