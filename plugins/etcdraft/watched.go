package etcdraft

import "sync"

// watched is a value whose readers can wait for the next change.
type watched[T comparable] struct {
	mu      sync.Mutex
	value   T
	changed chan struct{}
}

// get returns the value and a channel that is closed when it is another one.
func (w *watched[T]) get() (T, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.value, w.changed
}

func (w *watched[T]) set(value T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if value == w.value {
		return
	}
	w.value = value
	w.wakeLocked()
}

// wake closes the channel without a change, for a group that is closing.
func (w *watched[T]) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked()
}

func (w *watched[T]) wakeLocked() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}
