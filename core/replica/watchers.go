package replica

import (
	"sync"
	"sync/atomic"
)

// watchers are the goroutines that wait for an offset of a partition to move. A
// wake-up never blocks: each has a channel with room for one, and one that is
// already woken needs no second.
//
// The order that loses no wake-up: a waiter adds itself, then looks at the
// offset; a writer stores the offset, then wakes.
type watchers struct {
	count atomic.Int32 // of set, so that waking nobody takes no lock
	mu    sync.Mutex
	set   map[chan struct{}]int64 // woken when the offset has reached this
}

// add has c woken once the offset is at least at.
func (w *watchers) add(c chan struct{}, at int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set == nil {
		w.set = map[chan struct{}]int64{}
	}
	w.set[c] = at
	w.count.Store(int32(len(w.set)))
}

func (w *watchers) remove(c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.set, c)
	w.count.Store(int32(len(w.set)))
}

// reached wakes those who wait for an offset that is not above this one.
func (w *watchers) reached(offset int64) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, at := range w.set {
		if at <= offset {
			wake(c)
		}
	}
}

// all wakes everybody: something other than the offset changed.
func (w *watchers) all() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.set {
		wake(c)
	}
}

// wake leaves a signal in a channel with room for one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
