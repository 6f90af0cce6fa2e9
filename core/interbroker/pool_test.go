package interbroker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/quorate/quorate/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a broker made of a socket: it answers heartbeats with the correlation id
// as throttle time, once it is allowed to.
type peer struct {
	t        testing.TB
	listener net.Listener
	answer   func(n int) bool // whether to answer the nth request of a connection

	mu    sync.Mutex
	conns []net.Conn
	count int
}

func newPeer(t testing.TB, answer func(n int) bool) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, listener: l, answer: answer}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { p.stop(); wg.Wait() })
	return p
}

func (p *peer) serve(c net.Conn) {
	for n := 0; ; n++ {
		frame, err := protocol.ReadRequestFrame(c, func(int16, int16, int) error { return nil })
		if err != nil {
			return
		}
		p.mu.Lock()
		p.count++
		p.mu.Unlock()
		h, _, err := protocol.ParseHeader(frame)
		if err != nil {
			p.t.Errorf("peer got: %v", err)
			return
		}
		if !p.answer(n) {
			continue
		}
		var resp kmsg.Response = &kmsg.BrokerHeartbeatResponse{Version: h.Version, ThrottleMillis: h.CorrelationID}
		if h.Key == protocol.KeyFetch {
			resp = p.fetched(h, n)
		}
		if _, err := c.Write(protocol.AppendResponse(nil, h, resp)); err != nil {
			return
		}
	}
}

// fetched is an answer whose records tell which one it is, smaller each time.
func (p *peer) fetched(h protocol.RequestHeader, n int) *kmsg.FetchResponse {
	part := kmsg.NewFetchResponseTopicPartition()
	part.RecordBatches = bytes.Repeat([]byte{byte(n)}, fetchedBytes-n%8)
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = h.Version
	resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{part}}}
	return resp
}

const fetchedBytes = 1 << 20

func (p *peer) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// cut closes the connections, not the listener.
func (p *peer) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close() // a test's end
	}
	p.conns = nil
}

func (p *peer) stop() {
	_ = p.listener.Close() // a test's end
	p.cut()
}

func always(int) bool { return true }
func never(int) bool  { return false }

func newPool(t *testing.T, cfg Config, addr func() string) *Pool {
	t.Helper()
	p := New(cfg, func(id int32) []string {
		if id != 2 {
			return nil
		}
		return []string{addr()}
	}, slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	return p
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestRequestsArePipelined(t *testing.T) {
	t.Parallel()
	b := newPeer(t, always)
	p := newPool(t, Config{MaxPending: 8}, b.listener.Addr().String)
	seen := make(chan int32, 100)
	var wg sync.WaitGroup
	for range cap(seen) {
		wg.Go(func() {
			resp, err := p.Request(within(t, 10*time.Second), 2, LaneControl, &kmsg.BrokerHeartbeatRequest{})
			if err != nil {
				t.Error(err)
				return
			}
			seen <- resp.(*kmsg.BrokerHeartbeatResponse).ThrottleMillis
		})
	}
	wg.Wait()
	close(seen)
	distinct := map[int32]bool{}
	for id := range seen {
		distinct[id] = true
	}
	if len(distinct) != cap(seen) {
		t.Errorf("got %d distinct answers, want %d", len(distinct), cap(seen))
	}
	if len(b.conns) != 1 {
		t.Errorf("used %d connections, want 1", len(b.conns))
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	nobody := newPeer(t, never)
	nobody.stop()
	tests := []struct {
		name   string
		broker int32
		req    kmsg.Request
		peer   *peer
		during func(*peer)
		want   error
	}{
		{"nobody listens", 2, &kmsg.BrokerHeartbeatRequest{}, nobody, nil, ErrUnreachable},
		{"unknown broker", 3, &kmsg.BrokerHeartbeatRequest{}, nobody, nil, ErrUnreachable},
		{"not a request of brokers", 2, &kmsg.JoinGroupRequest{}, nobody, nil, ErrUnreachable},
		{"cut after the request arrived", 2, &kmsg.BrokerHeartbeatRequest{}, newPeer(t, never), (*peer).cut, ErrUncertain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, Config{}, tt.peer.listener.Addr().String)
			result := make(chan error, 1)
			go func() {
				_, err := p.Request(within(t, 10*time.Second), tt.broker, LaneControl, tt.req)
				result <- err
			}()
			if tt.during != nil {
				eventually(t, "the request arrived", func() bool { return tt.peer.requests() == 1 })
				tt.during(tt.peer)
			}
			err := <-result
			other := ErrUncertain
			if errors.Is(tt.want, other) {
				other = ErrUnreachable
			}
			if !errors.Is(err, tt.want) || errors.Is(err, other) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// A broker that takes requests and never answers: the first request is uncertain
// when its time is up, and the connection is given up, so that the next one is not
// queued behind it.
func TestSilentBroker(t *testing.T) {
	t.Parallel()
	b := newPeer(t, never)
	p := newPool(t, Config{}, b.listener.Addr().String)
	for range 2 {
		_, err := p.Request(within(t, 30*time.Millisecond), 2, LaneControl, &kmsg.BrokerHeartbeatRequest{})
		if !errors.Is(err, ErrUncertain) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want ErrUncertain and DeadlineExceeded", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.conns) != 2 {
		t.Errorf("got %d connections, want 2", len(b.conns))
	}
}

// What waits behind a full connection was never sent.
func TestFullConnection(t *testing.T) {
	t.Parallel()
	b := newPeer(t, never)
	p := newPool(t, Config{MaxPending: 1}, b.listener.Addr().String)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := p.Request(ctx, 2, LaneControl, &kmsg.BrokerHeartbeatRequest{})
		first <- err
	}()
	eventually(t, "the request arrived", func() bool { return b.requests() == 1 })
	_, err := p.Request(within(t, 20*time.Millisecond), 2, LaneControl, &kmsg.BrokerHeartbeatRequest{})
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, ErrUncertain) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrUncertain and Canceled", err)
	}
}

func TestReconnects(t *testing.T) {
	t.Parallel()
	first, second := newPeer(t, always), newPeer(t, always)
	var mu sync.Mutex
	addr := first.listener.Addr().String()
	p := newPool(t, Config{BackoffMin: time.Hour}, func() string {
		mu.Lock()
		defer mu.Unlock()
		return addr
	})
	ask := func() error {
		_, err := p.Request(within(t, 10*time.Second), 2, LaneControl, &kmsg.BrokerHeartbeatRequest{})
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	first.cut()
	eventually(t, "a new connection to the same broker", func() bool { return ask() == nil })
	first.stop()
	eventually(t, "the pause after a refusal", func() bool { return errors.Is(ask(), ErrUnreachable) })
	mu.Lock()
	addr = second.listener.Addr().String() // a new address is tried at once, whatever the pause
	mu.Unlock()
	if err := ask(); err != nil {
		t.Errorf("after the broker moved: %v", err)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	l := &lane{pool: &Pool{cfg: Config{BackoffMin: 50, BackoffMax: 300}}}
	for _, want := range []time.Duration{50, 100, 200, 300, 300} {
		if l.pauseLocked(); l.backoff != want {
			t.Errorf("got %d, want %d", l.backoff, want)
		}
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	alive, dead := newPeer(t, never), newPeer(t, never)
	dead.stop()
	good, refusing, wrong := alive.listener.Addr().String(), dead.listener.Addr().String(), "256.0.0.1:1"
	tests := []struct {
		addresses []string
		want      ProbeResult
	}{
		{[]string{good}, Alive},
		{[]string{refusing}, Refused},
		{[]string{wrong}, Unclear},
		{nil, Unclear},
		{[]string{refusing, good}, Alive},
		{[]string{refusing, wrong}, Unclear},
		{[]string{wrong, refusing}, Unclear},
		{[]string{refusing, refusing}, Refused},
	}
	p := New(Config{}, func(id int32) []string { return tests[id].addresses }, slog.New(slog.DiscardHandler))
	defer p.Close()
	for id, tt := range tests {
		if got := p.Probe(within(t, 10*time.Second), int32(id)); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.addresses, got, tt.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := p.Probe(ended, 0); got != Unclear {
		t.Errorf("without time: got %v, want %v", got, Unclear)
	}
}

// A broker that moved is found at its second address, and dialled there first from
// then on.
func TestSecondAddress(t *testing.T) {
	t.Parallel()
	gone, b := newPeer(t, never), newPeer(t, always)
	gone.stop()
	p := New(Config{}, func(int32) []string {
		return []string{gone.listener.Addr().String(), b.listener.Addr().String()}
	}, slog.New(slog.DiscardHandler))
	defer p.Close()
	if _, err := p.Request(within(t, 10*time.Second), 2, LaneControl, &kmsg.BrokerHeartbeatRequest{}); err != nil {
		t.Fatal(err)
	}
	l, err := p.lane(2, LaneControl)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if want := b.listener.Addr().String(); l.good != want {
		t.Errorf("goes to %s first, want %s", l.good, want)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	b := newPeer(t, never)
	p := newPool(t, Config{}, b.listener.Addr().String)
	result := make(chan error, 1)
	go func() {
		_, err := p.Request(t.Context(), 2, LaneControl, &kmsg.BrokerHeartbeatRequest{})
		result <- err
	}()
	eventually(t, "the request arrived", func() bool { return b.requests() == 1 })
	p.Close()
	if err := <-result; !errors.Is(err, ErrUncertain) {
		t.Errorf("pending: got %v, want ErrUncertain", err)
	}
	if _, err := p.Request(t.Context(), 2, LaneControl, &kmsg.BrokerHeartbeatRequest{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("later: got %v, want ErrUnreachable", err)
	}
}

// Every pinned version is one that the library knows.
func TestPinned(t *testing.T) {
	t.Parallel()
	for key, version := range pinned {
		req := kmsg.RequestForKey(int16(key))
		if req == nil || version > req.MaxVersion() {
			t.Errorf("%s v%d is not known", key.Name(), version)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if got := (Config{}).withDefaults(); got != DefaultConfig() {
		t.Errorf("got %+v, want the defaults", got)
	}
	if err := (Config{DialTimeout: -1}).Validate(); err == nil {
		t.Error("a negative timeout is accepted")
	}
}
