package server

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An answer that tells a client to wait comes at once; then nothing more is read from
// the connection for as long, and others are served meanwhile (KIP-219).
func TestThrottledConnectionIsMuted(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	const wait = 400 * time.Millisecond
	h.handler.throttle[1] = int32(wait.Milliseconds())
	c, other := h.dial(t, "clients"), h.dial(t, "clients")
	begun := time.Now()
	c.send(request(1, &kmsg.MetadataRequest{}, 1))
	if id, _ := c.answer(); id != 1 {
		t.Fatalf("got answer %d", id)
	}
	c.send(request(2, &kmsg.MetadataRequest{}, 1))
	other.send(request(3, &kmsg.MetadataRequest{}, 1))
	if id, _ := other.answer(); id != 3 {
		t.Fatalf("got answer %d", id)
	}
	if id, _ := c.answer(); id != 2 {
		t.Fatalf("got answer %d", id)
	}
	if took := time.Since(begun); took < wait {
		t.Errorf("the connection was read again after %v, want %v", took, wait)
	}
	c.send(request(4, &kmsg.MetadataRequest{}, 1)) // no longer muted
	c.answer()
	if got := testutil.ToFloat64(h.metrics.throttled.WithLabelValues("Metadata")); got != wait.Seconds() {
		t.Errorf("quorate_throttle_seconds_total is %v, want %v", got, wait.Seconds())
	}
}

// A long wait neither holds the answer back nor the server that is told to stop.
func TestMutedConnectionStops(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.handler.throttle[1] = 3_600_000 // no more than maxMute comes of it
	c := h.dial(t, "clients")
	c.send(request(1, &kmsg.MetadataRequest{}, 1), request(2, &kmsg.MetadataRequest{}, 1))
	c.answer()
	other := h.dial(t, "clients")
	other.send(request(3, &kmsg.MetadataRequest{}, 1))
	other.answer()
	h.stop()
}

// What brokers say to each other is never held back.
func TestClusterIsNotMuted(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.handler.throttle[1] = 3_600_000
	c := h.dial(t, "cluster")
	c.send(request(1, &kmsg.MetadataRequest{}, 1))
	c.answer()
	c.send(request(2, &kmsg.MetadataRequest{}, 1))
	c.answer()
}

func TestMuteIsBounded(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	c := newConn(h.listeners[0], nil, netip.AddrPort{})
	x := &exchange{api: "Metadata"}
	c.mute(x, &kmsg.MetadataResponse{ThrottleMillis: 3_600_000})
	if d := c.muted(); d > maxMute || d < maxMute/2 {
		t.Errorf("muted for %v, want %v", d, maxMute)
	}
	c.mute(x, &kmsg.MetadataResponse{ThrottleMillis: 1}) // the longer wait counts
	if d := c.muted(); d < maxMute/2 {
		t.Errorf("muted for %v after a shorter wait", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.awaitUnmuted(ctx); err == nil {
		t.Error("the wait goes on although the connection ends")
	}
}
