package coordinator

import (
	"container/heap"
	"time"
)

// Timers are a machine's deadlines. When one passes, its function runs on the
// shard's goroutine as an event of its own. They end with the machine.
type Timers struct{ heap timerHeap }

// Timer is one deadline. It belongs to the goroutine of its machine.
type Timer struct {
	timers *Timers
	key    string
	run    func(t *Turn)
	at     time.Time
	index  int // in the heap; -1 if not set
}

// New returns a timer that is not set. key is that of the event it makes.
func (ts *Timers) New(key string, run func(t *Turn)) *Timer {
	return &Timer{timers: ts, key: key, run: run, index: -1}
}

// Set makes the timer run at a time, and no more at the one it was set to before.
func (t *Timer) Set(at time.Time) {
	t.at = at
	if t.index < 0 {
		heap.Push(&t.timers.heap, t)
		return
	}
	heap.Fix(&t.timers.heap, t.index)
}

// Stop makes the timer not run. It may be set again.
func (t *Timer) Stop() {
	if t.index >= 0 {
		heap.Remove(&t.timers.heap, t.index)
	}
}

// IsSet reports whether the timer will run.
func (t *Timer) IsSet() bool { return t.index >= 0 }

// next returns the earliest deadline.
func (ts *Timers) next() (at time.Time, ok bool) {
	if len(ts.heap) == 0 {
		return time.Time{}, false
	}
	return ts.heap[0].at, true
}

// due takes out a timer whose deadline has passed, or returns nil.
func (ts *Timers) due(now time.Time) *Timer {
	if len(ts.heap) == 0 || ts.heap[0].at.After(now) {
		return nil
	}
	return heap.Pop(&ts.heap).(*Timer) //nolint:errcheck // the heap holds nothing else
}

type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for package heap.
func (h *timerHeap) Push(x any) {
	t := x.(*Timer) //nolint:errcheck // only Set pushes
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop is for package heap.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}
