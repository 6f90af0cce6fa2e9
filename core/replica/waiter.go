package replica

// Watch is what a Waiter waits for.
type Watch int

// What a Waiter waits for.
const (
	WatchHighWatermark Watch = iota // consumers and coordinators
	WatchEnd                        // followers
)

// Waiter is a long poll over many partitions.
type Waiter struct {
	watch Watch
	parts []*Partition
	c     chan struct{}
}

// NewWaiter returns a waiter over partitions; nil ones are skipped. It is
// signalled when what it watches moved, or leadership or the ISR may have changed,
// in any of them after this call: so read first only after NewWaiter, or again.
// Close it.
func (m *Manager) NewWaiter(watch Watch, parts ...*Partition) *Waiter {
	w := &Waiter{watch: watch, c: make(chan struct{}, 1)}
	for _, p := range parts {
		if p != nil {
			w.parts = append(w.parts, p)
			p.watched(watch).add(w.c, 0)
		}
	}
	return w
}

// C receives a value after something changed since the last receive. It is never closed.
func (w *Waiter) C() <-chan struct{} { return w.c }

// Close stops the signals.
func (w *Waiter) Close() {
	for _, p := range w.parts {
		p.watched(w.watch).remove(w.c)
	}
	w.parts = nil
}

func (p *Partition) watched(watch Watch) *watchers {
	if watch == WatchEnd {
		return &p.ends
	}
	return &p.marks
}
