// Package watched has values whose readers can wait for the next change, which is
// what consensus.Group asks of leadership, of the committed index and of the wish
// for a snapshot. A change is told by level: who waits learns that the value is
// another one, and reads the newest; what it was in between may be missed.
package watched

import "sync"

// Value is a value that is watched. The zero Value holds the zero T. All methods
// may be called concurrently, and none blocks.
type Value[T comparable] struct {
	mu      sync.Mutex
	value   T
	changed chan struct{} // nil if nobody has asked since the last change
}

// Get returns the value, and a channel that is closed when it is another one.
func (v *Value[T]) Get() (T, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.changed == nil {
		v.changed = make(chan struct{})
	}
	return v.value, v.changed
}

// Set changes the value. Nobody is woken if it was the same before.
func (v *Value[T]) Set(value T) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if value == v.value {
		return
	}
	v.value = value
	v.wakeLocked()
}

// Wake closes the channel without a change: for the end of what is watched.
func (v *Value[T]) Wake() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wakeLocked()
}

func (v *Value[T]) wakeLocked() {
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}
