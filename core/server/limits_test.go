package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

func TestSlowSenderIsCutOff(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.ReadTimeout = 30 * time.Millisecond })
	c := h.dial(t, "clients")
	frame := request(1, &kmsg.MetadataRequest{}, 9)
	c.send(frame[:7])
	c.wantClosed()
	h.stop()
	if !strings.Contains(h.log.String(), errTooSlow.Error()) {
		t.Errorf("got log %q, want %q", h.log, errTooSlow)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.IdleTimeout = 30 * time.Millisecond })
	release := make(chan struct{})
	h.handler.hold[1] = release

	cluster := h.dial(t, "cluster")
	waiting := h.dial(t, "clients")
	waiting.send(request(1, &kmsg.MetadataRequest{}, 9))
	h.dial(t, "clients").wantClosed()

	// The connection that waited longer than the timeout is still read.
	waiting.send(request(2, &kmsg.MetadataRequest{}, 9))
	eventually(t, "the next request begun", func() bool { return h.handler.begunCount() == 2 })
	close(release)
	for id := range int32(2) {
		if got, _ := waiting.answer(); got != id+1 {
			t.Errorf("got answer %d, want %d", got, id+1)
		}
	}
	cluster.send(request(2, &kmsg.AlterPartitionRequest{}, 3))
	if id, _ := cluster.answer(); id != 2 {
		t.Errorf("got answer %d, want 2: the cluster's connections may be idle", id)
	}
	h.stop()
	if h.log.String() != "" {
		t.Errorf("got log %q, want none for an idle connection", h.log)
	}
}

// A client that does not read its responses loses the connection.
func TestSlowReaderIsCutOff(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.WriteTimeout = 20 * time.Millisecond
	s, err := New(cfg, newFakeHandler(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe() // has no buffer: what is not read is not written
	defer closeSocket(theirs)
	defer closeSocket(ours)
	c := newConn(&listener{server: s, cfg: ListenerConfig{Name: "clients"}}, ours, netip.AddrPort{})
	if err := c.write(make([]byte, 100)); err == nil || !strings.Contains(err.Error(), "did not take") {
		t.Errorf("got %v, want a timeout", err)
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Config)
		reason string
	}{
		{"in all", func(c *Config) { c.MaxConnections = 2 }, "max_connections"},
		{"for an address", func(c *Config) { c.MaxConnectionsPerIP = 2 }, "max_connections_per_ip"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, tt.change)
			ask := func(c *client) {
				c.send(request(1, &kmsg.MetadataRequest{}, 9))
				c.answer()
			}
			first := h.dial(t, "clients")
			ask(first)
			ask(h.dial(t, "clients"))
			h.dial(t, "clients").wantClosed()
			ask(h.dial(t, "cluster")) // does not count
			closeSocket(first)
			eventually(t, "room for one more", func() bool {
				h.mu.Lock()
				defer h.mu.Unlock()
				return h.counts.all == 1
			})
			ask(h.dial(t, "clients"))
			if got := testutil.ToFloat64(h.metrics.refused.WithLabelValues("clients", tt.reason)); got != 1 {
				t.Errorf("refused: got %v, want 1", got)
			}
		})
	}
}

// When the memory budget is used up, sockets are not read; the cluster's have a
// budget of their own.
func TestMemoryBudgetPushesBack(t *testing.T) {
	t.Parallel()
	one := request(1, &kmsg.MetadataRequest{}, 9)
	h := start(t, func(c *Config) { c.RequestMemory = 4 * protocol.RequestWeight(3, len(one)-4) })
	release := make(chan struct{})
	h.handler.hold[1] = release

	first, second, cluster := h.dial(t, "clients"), h.dial(t, "clients"), h.dial(t, "cluster")
	first.send(one)
	eventually(t, "the first request begun", func() bool { return h.handler.begunCount() == 1 })
	second.send(request(2, &kmsg.MetadataRequest{}, 9))
	cluster.send(request(3, &kmsg.MetadataRequest{}, 9))
	if id, _ := cluster.answer(); id != 3 {
		t.Fatalf("got answer %d, want 3", id)
	}
	if h.handler.begunCount() != 2 {
		t.Fatal("the second request was begun without memory for it")
	}
	close(release)
	for want, c := range map[int32]*client{1: first, 2: second} {
		if id, _ := c.answer(); id != want {
			t.Fatalf("got answer %d, want %d", id, want)
		}
	}
	wantAllMemory(t, h.memory[Client])
}

// A small request takes its share when it is there, not when it is announced.
func TestSlowSmallRequestHoldsNothing(t *testing.T) {
	t.Parallel()
	one := request(1, &kmsg.MetadataRequest{}, 9)
	h := start(t, func(c *Config) { c.RequestMemory = 4 * protocol.RequestWeight(3, len(one)-4) })
	slow, quick := h.dial(t, "clients"), h.dial(t, "clients")
	slow.send(one[:10])
	for range 10 { // the slow one's first bytes have arrived by one of these
		quick.send(one)
		if id, _ := quick.answer(); id != 1 {
			t.Fatalf("got answer %d, want 1", id)
		}
	}
	slow.send(one[10:])
	if id, _ := slow.answer(); id != 1 {
		t.Errorf("got answer %d, want 1", id)
	}
}

// Clients that announce large requests and do not send them leave room for others in
// the end: they lose their share with their connection.
func TestLyingProducersGiveBack(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) {
		c.RequestMemory, c.ReadTimeout = 1<<20, 30*time.Millisecond
	})
	for range 3 {
		h.dial(t, "clients").send([]byte{0, 8, 0, 1, 0, 3, 0, 9}) // of Metadata; not more than it may have
	}
	honest := h.dial(t, "clients")
	honest.send(request(1, &kmsg.MetadataRequest{}, 9))
	if id, _ := honest.answer(); id != 1 {
		t.Errorf("got answer %d, want 1", id)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	c := h.dial(t, "clients")
	frame := request(7, &kmsg.ApiVersionsRequest{}, 3)
	frame[7] = 9
	c.send(frame)
	c.answer()
	c.send(request(8, &kmsg.MetadataRequest{}, 1))
	c.answer()
	eventually(t, "both counted", func() bool {
		return testutil.ToFloat64(h.metrics.requests.WithLabelValues("ApiVersions", "UNSUPPORTED_VERSION")) == 1 &&
			testutil.ToFloat64(h.metrics.requests.WithLabelValues("Metadata", "NONE")) == 1
	})
	if n, err := testutil.GatherAndCount(h.reg, "quorate_connections", "quorate_request_duration_seconds"); err != nil || n != 3 {
		t.Errorf("got %d series, %v; want 3", n, err)
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	taken := h.Addr("clients").String()
	cfg := DefaultConfig()
	cfg.Listeners = []ListenerConfig{{Name: "a", Bind: "127.0.0.1:0"}, {Name: "b", Bind: taken}}
	s, err := New(cfg, h.handler, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Listen()
	if want := fmt.Sprintf("listener %q: %s is in use by another process", "b", taken); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if s.Addr("a") != nil {
		t.Error("the other listener is still bound")
	}
	if err := s.Run(context.Background()); err == nil {
		t.Error("Run without a listener succeeded")
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	bad := Config{Listeners: []ListenerConfig{{Name: "x"}, {Name: "x"}}, MaxConnections: -1}
	err := bad.Validate()
	for _, want := range []string{`"x" is empty or not unique`, "MaxRequestBytes is 0", "MaxConnections"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	q := newQuiet(slog.New(slog.DiscardHandler))
	now := time.Unix(1000, 0)
	for i, want := range []bool{true, false, false} {
		if _, ok := q.pass("a", now); ok != want {
			t.Errorf("line %d: got %v, want %v", i, ok, want)
		}
	}
	if dropped, ok := q.pass("a", now.Add(quietPeriod)); !ok || dropped != 2 {
		t.Errorf("after a while: got %d, %v; want 2, true", dropped, ok)
	}
	for i := range 3 * quietSubjects {
		q.pass(fmt.Sprint(i), now)
	}
	if len(q.subjects) > quietSubjects+1 {
		t.Errorf("remembers %d subjects, want no more than %d", len(q.subjects), quietSubjects+1)
	}
}

func TestPeerGone(t *testing.T) {
	t.Parallel()
	for _, err := range []error{net.ErrClosed, &net.OpError{Err: errors.New("x")}} {
		if got, want := errors.Is(classify(err), errPeerGone), errors.Is(err, net.ErrClosed); got != want {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
}

// wantAllMemory wants that nothing is taken of m.
func wantAllMemory(t *testing.T, m *memory) {
	t.Helper()
	if !m.requests.TryAcquire(m.requestsMax) || !m.records.TryAcquire(m.recordsMax) || !m.answers.TryAcquire(m.answersMax) {
		t.Fatal("memory was not given back")
	}
	m.answers.Release(m.answersMax)
	m.requests.Release(m.requestsMax)
	m.records.Release(m.recordsMax)
}
