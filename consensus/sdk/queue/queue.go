// Package queue hands proposals to the one goroutine of a group that writes its
// log. While that waits for the disk, proposals gather; then it gets all of them
// at once, to write them with one sync. That is what makes 256 proposals in flight
// cost little more than one.
//
// The queue is bounded (rule P6): one that is full refuses at once and never makes
// the caller wait, so that Put may be called from consensus.Group's Propose.
package queue

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
)

// Queue is a bounded queue with one reader. Every item that Put took is handed to
// the reader exactly once, in order, also when the queue is closed meanwhile. All
// methods may be called concurrently.
type Queue[T any] struct {
	items chan T
	done  chan struct{} // closed when Run has returned
	busy  atomic.Int64  // nanoseconds since born at which the present batch was handed out; 0 = none
	born  time.Time

	mu     sync.Mutex
	closed bool
}

// New returns a queue for up to size items. Something has to call Run.
func New[T any](size int) *Queue[T] {
	return &Queue[T]{items: make(chan T, size), done: make(chan struct{}), born: time.Now()}
}

// Put adds an item, or returns consensus.ErrOverloaded or consensus.ErrShuttingDown
// and has not.
func (q *Queue[T]) Put(item T) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return consensus.ErrShuttingDown
	}
	select {
	case q.items <- item:
		return nil
	default:
		return consensus.ErrOverloaded
	}
}

// Run calls handle with what is queued, at least one item at a time and the
// oldest first, until the queue is closed and empty. It is called once. The slice
// belongs to handle until that returns.
func (q *Queue[T]) Run(handle func([]T)) {
	defer close(q.done)
	var batch []T
	for first := range q.items {
		batch = append(batch[:0], first)
		for n := len(q.items); n > 0; n-- {
			batch = append(batch, <-q.items)
		}
		q.busy.Store(int64(max(time.Since(q.born), 1)))
		handle(batch)
		q.busy.Store(0)
		clear(batch) // lets go of what was proposed
	}
}

// Age returns how long the reader has been at its present batch, and 0 if it
// waits for one: the age of a loop, as consensus.Group's LoopAge wants it. It
// takes no lock.
func (q *Queue[T]) Age() time.Duration {
	since := q.busy.Load()
	if since == 0 {
		return 0
	}
	return time.Since(q.born) - time.Duration(since)
}

// Close refuses what comes from now on, and returns when what is queued has been
// handled. It may be called more than once, but not by handle.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.items)
	}
	q.mu.Unlock()
	<-q.done
}
