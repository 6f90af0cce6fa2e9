package kit

import (
	"sync/atomic"
	"testing"
	"time"
)

// A backlog may take longer than the kit's patience, as long as it gets shorter.
func TestWhileProgress(t *testing.T) {
	const patience = 100 * time.Millisecond
	l := &lab{ctx: t.Context(), opts: Options{Patience: patience}}
	var moved atomic.Uint64
	began := time.Now()
	slowly := func() uint64 { // all of it takes three times the patience
		moved.Store(uint64(time.Since(began) / (patience / 10)))
		return moved.Load()
	}
	if !l.whileProgress(slowly, func() bool { return moved.Load() >= 30 }) {
		t.Errorf("what moves on was given up at %d after %s, with a patience of %s", moved.Load(), time.Since(began), patience)
	}
	if l.whileProgress(func() uint64 { return 7 }, func() bool { return false }) {
		t.Error("what stands still is said to have come to its end")
	}
}
