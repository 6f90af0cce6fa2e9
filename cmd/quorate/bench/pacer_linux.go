package bench

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// longestNap bounds a sleep that nothing can interrupt.
const longestNap = 50 * time.Millisecond

// pacer sleeps with the precision of the kernel: a timer of the runtime may be a
// millisecond late when the process is idle, which would be counted as latency of
// the server. It holds its thread.
type pacer struct{}

func newPacer() pacer {
	runtime.LockOSThread()
	// A nanosecond of slack instead of 50 µs. Without it the sleep is less precise,
	// nothing else.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return pacer{}
}

func (pacer) stop() { runtime.UnlockOSThread() }

func (pacer) until(ctx context.Context, t time.Time) {
	for left := time.Until(t); left > 0 && ctx.Err() == nil; left = time.Until(t) {
		nap := unix.NsecToTimespec(int64(min(left, longestNap)))
		// A signal may end it early; the loop sees that.
		_ = unix.Nanosleep(&nap, nil)
	}
}
