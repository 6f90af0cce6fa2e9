package host

import (
	"sync"
	"sync/atomic"
)

// latest is a value that many read without a lock and wait to change.
type latest[T comparable] struct {
	current atomic.Pointer[version[T]]
	mu      sync.Mutex // serializes writers
}

type version[T comparable] struct {
	value   T
	changed chan struct{} // closed when there is a newer one
}

func newLatest[T comparable](value T) *latest[T] {
	l := &latest[T]{}
	l.current.Store(&version[T]{value: value, changed: make(chan struct{})})
	return l
}

// get returns the value and a channel that is closed when it has changed.
func (l *latest[T]) get() (T, <-chan struct{}) {
	v := l.current.Load()
	return v.value, v.changed
}

// update replaces the value by what f makes of it.
func (l *latest[T]) update(f func(T) T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.current.Load()
	value := f(old.value)
	if value == old.value {
		return
	}
	l.current.Store(&version[T]{value: value, changed: make(chan struct{})})
	close(old.changed)
}
