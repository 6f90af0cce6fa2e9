package server

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// maxMute bounds what an answer can make its connection wait.
const maxMute = 30 * time.Second

// mute makes the connection of a client wait whose answer, sent at once, says that
// it has to: until then nothing more is read from it, whether the client keeps to
// it or not (KIP-219). Requests that were read already are answered.
func (c *conn) mute(x *exchange, resp protocol.Response) {
	d := throttleOf(resp)
	if d <= 0 || c.session.Kind != Client {
		return
	}
	d = min(d, maxMute)
	c.server.metrics.throttled.WithLabelValues(x.api).Add(d.Seconds())
	until := time.Now().Add(d).UnixNano()
	for {
		was := c.mutedUntil.Load()
		if was >= until || c.mutedUntil.CompareAndSwap(was, until) {
			return
		}
	}
}

// throttleOf is throttle_time_ms of an answer.
func throttleOf(resp protocol.Response) time.Duration {
	r, ok := resp.(kmsg.ThrottleResponse)
	if !ok {
		return 0
	}
	millis, _ := r.Throttle()
	return time.Duration(millis) * time.Millisecond
}

// awaitUnmuted waits until requests may be read, and gives the one that has begun
// to arrive its time.
func (c *conn) awaitUnmuted(ctx context.Context) error {
	muted := false
	for d := c.muted(); d > 0; d = c.muted() {
		muted = true
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	if !muted {
		return nil
	}
	return c.setReadDeadline(ctx, time.Now().Add(c.server.cfg.ReadTimeout))
}

// muted is for how long nothing may be read.
func (c *conn) muted() time.Duration {
	until := c.mutedUntil.Load()
	if until == 0 {
		return 0
	}
	return time.Until(time.Unix(0, until))
}
