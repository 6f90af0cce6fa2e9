package wal

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// LastStable is the last stable offset for a high watermark: before it every
// transaction is decided, so that a reader of committed records may read up to there.
// It is the first offset of the first transaction that is open, or whose marker the
// high watermark has not passed yet; else the high watermark itself.
//
// The high watermark must have been loaded before the call, and never go back.
func (l *Log) LastStable(highWatermark int64) int64 {
	return l.undecided.lastStable(highWatermark)
}

// OpenTransactions is how many transactions have records in the log and no marker.
func (l *Log) OpenTransactions() int { return l.undecided.count() }

// none is the offset of a transaction that there is not.
const none = math.MaxInt64

// undecided is the transactions that hold back the last stable offset. Written under
// the log's mutex, read by anybody; its own mutex comes last and is held over nothing.
type undecided struct {
	first atomic.Int64 // first offset of all of them, or none
	next  atomic.Int64 // the first marker of ended, or none

	mu    sync.Mutex
	open  []int64    // first offsets of the transactions without a marker, ascending
	ended []endedTxn // those whose marker the high watermark has not passed, by marker
}

// endedTxn is a transaction with its marker.
type endedTxn struct{ first, marker int64 }

// lastStable also forgets what the high watermark has passed.
//
// The order counts: a transaction that begins after the high watermark was loaded
// begins at it or behind it, so first can only be too low.
func (u *undecided) lastStable(highWatermark int64) int64 {
	if u.next.Load() < highWatermark {
		u.decide(highWatermark)
	}
	return min(highWatermark, u.first.Load())
}

func (u *undecided) decide(highWatermark int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for n < len(u.ended) && u.ended[n].marker < highWatermark {
		n++
	}
	u.ended = slices.Delete(u.ended, 0, n)
	u.publish()
}

// begin notes a transaction, which has its first record behind all others.
func (u *undecided) begin(first int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open = append(u.open, first)
	u.publish()
}

// end notes the marker of a transaction. It returns where the last stable offset is
// to be once the marker is behind the high watermark.
func (u *undecided) end(first, marker int64) (lastStable int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i, ok := slices.BinarySearch(u.open, first); ok {
		u.open = slices.Delete(u.open, i, i+1)
	}
	u.ended = append(u.ended, endedTxn{first, marker})
	u.publish()
	if len(u.open) > 0 {
		return u.open[0]
	}
	return marker + 1
}

// reset begins anew with the first offsets of open transactions.
func (u *undecided) reset(open []int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	slices.Sort(open)
	u.open, u.ended = open, nil
	u.publish()
}

// publish stores what readers see. u.mu is held.
func (u *undecided) publish() {
	first, next := int64(none), int64(none)
	if len(u.open) > 0 {
		first = u.open[0]
	}
	if len(u.ended) > 0 {
		next = u.ended[0].marker
	}
	for _, e := range u.ended {
		first = min(first, e.first)
	}
	u.first.Store(first)
	u.next.Store(next)
}

func (u *undecided) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.open)
}
