//go:build !linux

package bench

import (
	"context"
	"time"
)

// pacer sleeps with the runtime's timers.
type pacer struct{ timer *time.Timer }

func newPacer() pacer { return pacer{time.NewTimer(0)} }

func (p pacer) stop() { p.timer.Stop() }

func (p pacer) until(ctx context.Context, t time.Time) {
	p.timer.Reset(time.Until(t))
	select {
	case <-p.timer.C:
	case <-ctx.Done():
	}
}
