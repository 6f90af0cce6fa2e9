package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/quorate/quorate/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should happen at once.
const patience = 10 * time.Second

// fakeHandler answers Metadata, Produce and ApiVersions. A test may hold answers back.
type fakeHandler struct {
	mu       sync.Mutex
	begun    []int32                 // correlation ids
	hold     map[int32]chan struct{} // answers that wait
	fail     map[int32]error         // answers that fail
	quiet    map[int32]bool          // answers that are not sent
	throttle map[int32]int32         // throttle_time_ms of answers to Metadata
	seen     chan Session            // of requests, if there is room
	ended    chan error              // contexts of answers that ended while they waited

	skip     map[int32]bool   // partitions whose records are not read
	produced map[int32][]byte // by partition
	records  map[int32]func() protocol.Records
}

func newFakeHandler() *fakeHandler {
	return &fakeHandler{
		hold: map[int32]chan struct{}{}, fail: map[int32]error{}, quiet: map[int32]bool{},
		throttle: map[int32]int32{},
		seen:     make(chan Session, 16), ended: make(chan error, 64),
		skip: map[int32]bool{}, produced: map[int32][]byte{}, records: map[int32]func() protocol.Records{},
	}
}

func (*fakeHandler) Versions(kind Kind, key int16) (int16, int16, bool) {
	switch key {
	case 0:
		return 3, 12, true
	case 1:
		return 4, 17, true
	case 3:
		return 0, 12, true
	case 18:
		return 0, 4, true
	case 56:
		return 2, 3, kind == Cluster
	}
	return 0, 0, false
}

func (h *fakeHandler) Begin(_ context.Context, s *Session, r *Request) Answer {
	if r.Produce != nil {
		h.readProduce(r.Produce)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id := r.Header.CorrelationID
	h.begun = append(h.begun, id)
	hold, fail, quiet, throttle := h.hold[id], h.fail[id], h.quiet[id], h.throttle[id]
	select {
	case h.seen <- *s:
	default:
	}
	return func(ctx context.Context) (protocol.Response, error) {
		if hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
				h.ended <- ctx.Err()
				return nil, ctx.Err()
			}
		}
		var resp protocol.Response
		switch {
		case r.Produce != nil:
			resp = kmsg.NewPtrProduceResponse()
		case r.Fetch != nil:
			resp = h.fetched(r.Fetch)
		default:
			resp = r.Body.ResponseKind()
		}
		if v, ok := resp.(*kmsg.ApiVersionsResponse); ok && r.Unsupported {
			v.ErrorCode = int16(protocol.UnsupportedVersion)
		}
		if m, ok := resp.(*kmsg.MetadataResponse); ok {
			m.ThrottleMillis = throttle
		}
		if quiet {
			return nil, nil
		}
		return resp, fail
	}
}

// readProduce keeps what a produce request brings.
func (h *fakeHandler) readProduce(req *protocol.ProduceRequest) {
	for {
		p, err := req.Next()
		if err != nil {
			return
		}
		if h.skip[p.Partition] {
			continue
		}
		records, err := req.Records()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.produced[p.Partition] = bytes.Clone(records)
		h.mu.Unlock()
	}
}

// fetched answers every partition that is asked for with records, if there are any.
func (h *fakeHandler) fetched(req *protocol.FetchRequest) *protocol.FetchResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	resp := &protocol.FetchResponse{}
	for _, t := range req.Topics {
		out := protocol.FetchedTopic{Name: t.Name}
		for _, p := range t.Partitions {
			part := protocol.NewFetchedPartition(p.Partition, 0)
			if records := h.records[p.Partition]; records != nil {
				part.Records = records()
			}
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (h *fakeHandler) begunCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.begun)
}

// lockedBuffer is a log that a test can read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// harness is a running server.
type harness struct {
	*Server
	handler *fakeHandler
	log     *lockedBuffer
	reg     *prometheus.Registry
	stop    func() // and wait
}

func start(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Listeners = []ListenerConfig{
		{Name: "clients", Kind: Client, Bind: "127.0.0.1:0"},
		{Name: "cluster", Kind: Cluster, Bind: "127.0.0.1:0"},
	}
	cfg.DrainTimeout = 50 * time.Millisecond
	if change != nil {
		change(&cfg)
	}
	h := &harness{handler: newFakeHandler(), log: &lockedBuffer{}, reg: prometheus.NewRegistry()}
	var err error
	h.Server, err = New(cfg, h.handler, slog.New(slog.NewTextHandler(h.log, nil)), h.reg)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// client is a raw connection.
type client struct {
	net.Conn
	t *testing.T
}

func (h *harness) dial(t *testing.T, listener string) *client {
	t.Helper()
	socket, err := net.Dial("tcp", h.Addr(listener).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSocket(socket) })
	if err := socket.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{socket, t}
}

func request(id int32, req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return protocol.AppendRequest(nil, protocol.RequestHeader{CorrelationID: id, ClientID: new("test")}, req)
}

func (c *client) send(frames ...[]byte) {
	c.t.Helper()
	for _, f := range frames {
		if _, err := c.Write(f); err != nil {
			c.t.Fatalf("send: %v", err)
		}
	}
}

// answer reads a response and returns its correlation id and the rest.
func (c *client) answer() (int32, []byte) {
	c.t.Helper()
	frame, err := protocol.ReadResponseFrame(c, 1<<20)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return int32(binary.BigEndian.Uint32(frame)), frame[4:]
}

// wantClosed waits for the server to hang up, with nothing sent before.
func (c *client) wantClosed() {
	c.t.Helper()
	rest, err := io.ReadAll(c)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		c.t.Fatalf("still open after %v", patience)
	}
	if len(rest) > 0 {
		c.t.Fatalf("got %x before the end, want nothing", rest)
	}
}

// eventually polls a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	metadata := request(1, &kmsg.MetadataRequest{}, 9)
	tests := []struct {
		name, listener string
		send           []byte
		wantLog        string
	}{
		{"negative length", "clients", []byte{0xff, 0xff, 0xff, 0xff}, "malformed"},
		{"length too short", "clients", []byte{0, 0, 0, 2, 0, 3}, "malformed"},
		{"HTTP", "clients", []byte("GET / HTTP/1.1\r\n\r\n"), "unsupported request key"},
		{"TLS on a plaintext listener", "clients", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, "unsupported Fetch version 1,"},
		{"unknown key", "clients", []byte{0, 0, 0, 8, 3, 232, 0, 0, 0, 0, 0, 1}, "unsupported request key 1000"},
		{"a broker's request from a client", "clients", request(1, &kmsg.AlterPartitionRequest{}, 3), "unsupported request key 56 version 3 on a client listener"},
		{"version too old", "clients", request(1, &kmsg.ProduceRequest{}, 2), "unsupported Produce version 2, versions 3 to 12 are"},
		{"version too new", "clients", request(1, &kmsg.MetadataRequest{}, 13), "unsupported Metadata version 13"},
		{"too large", "clients", binary.BigEndian.AppendUint32(nil, 1<<20+1), ""},
		{"a small request of 2 MiB", "clients", []byte{0, 0x20, 0, 0, 0, 3, 0, 9}, "Metadata request of 2097152 bytes, 1048576 are allowed"},
		{"a produce of 200 MiB", "clients", []byte{0x0c, 0x80, 0, 0, 0, 0, 0, 9}, "Produce request of 209715200 bytes"},
		{"a body cut off", "clients", append(binary.BigEndian.AppendUint32(nil, uint32(len(metadata)-4-2)), metadata[4:len(metadata)-2]...), "Metadata v9"},
		{"a header cut off", "clients", []byte{0, 0, 0, 6, 0, 3, 0, 9, 0, 0}, "header of Metadata v9 ends early"},
		{"four billion topics", "clients", []byte{0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff}, "beyond its end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, nil)
			c := h.dial(t, tt.listener)
			c.send(tt.send)
			if tt.wantLog == "" { // the key is still to come
				c.send([]byte{0, 3, 0, 9})
			}
			c.wantClosed()
			h.stop()
			if lines := strings.Count(h.log.String(), "\n"); lines != 1 || !strings.Contains(h.log.String(), tt.wantLog) {
				t.Errorf("got log %q, want one line with %q", h.log, tt.wantLog)
			}
		})
	}
}

func TestAnswersBeforeGarbageAreSent(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	c := h.dial(t, "clients")
	c.send(append(request(5, &kmsg.MetadataRequest{}, 9), 0xff, 0xff, 0xff, 0xff))
	if id, _ := c.answer(); id != 5 {
		t.Errorf("got answer %d, want 5", id)
	}
	c.wantClosed()
}

func TestUnknownAPIVersionsVersion(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	c := h.dial(t, "clients")
	frame := request(7, &kmsg.ApiVersionsRequest{}, 3)
	binary.BigEndian.PutUint16(frame[6:], 99)
	c.send(frame)
	id, body := c.answer()
	// Version 0: error code, then an array with an int32 count.
	if want := []byte{0, 35, 0, 0, 0, 0}; id != 7 || !bytes.Equal(body, want) {
		t.Errorf("got answer %d: %x, want 7: %x", id, body, want)
	}
	c.send(request(8, &kmsg.ApiVersionsRequest{ClientSoftwareName: "lib", ClientSoftwareVersion: "1.2"}, 3))
	if id, _ := c.answer(); id != 8 {
		t.Errorf("got answer %d, want 8: the connection stays open", id)
	}
	<-h.handler.seen
	if s := <-h.handler.seen; s.SoftwareName != "lib" || s.SoftwareVersion != "1.2" || s.ClientID != "test" {
		t.Errorf("got session %+v, want what the client said", s)
	}
}

// The second answer is ready at once and still comes second; the requests behind the
// first are begun while it waits.
func TestAnswersInOrder(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	release := make(chan struct{})
	h.handler.hold[1] = release
	h.handler.quiet[3] = true
	c := h.dial(t, "clients")
	for id := range int32(5) {
		c.send(request(id+1, &kmsg.MetadataRequest{}, 9))
	}
	eventually(t, "five requests begun", func() bool { return h.handler.begunCount() == 5 })
	close(release)
	for _, want := range []int32{1, 2, 4, 5} { // 3 is acks=0
		if id, _ := c.answer(); id != want {
			t.Fatalf("got answer %d, want %d", id, want)
		}
	}
}

func TestMaxInflight(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.MaxInflight = 3 })
	release := make(chan struct{})
	h.handler.hold[1] = release
	c := h.dial(t, "clients")
	for id := range int32(10) {
		c.send(request(id+1, &kmsg.MetadataRequest{}, 9))
	}
	eventually(t, "three requests begun", func() bool { return h.handler.begunCount() == 3 })
	close(release)
	for want := range int32(10) {
		if id, _ := c.answer(); id != want+1 {
			t.Fatalf("got answer %d, want %d", id, want+1)
		}
	}
}

func TestFailedAnswerCloses(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.handler.fail[1] = errors.New("cannot go on")
	h.handler.hold[2] = make(chan struct{}) // would wait for ever
	c := h.dial(t, "clients")
	c.send(request(1, &kmsg.MetadataRequest{}, 9), request(2, &kmsg.MetadataRequest{}, 9))
	c.wantClosed()
	h.stop()
	if !strings.Contains(h.log.String(), "cannot go on") {
		t.Errorf("got log %q, want the reason", h.log)
	}
}

// Answers end when their client is gone.
func TestHangUpEndsAnswers(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.handler.hold[1] = make(chan struct{})
	c := h.dial(t, "clients")
	c.send(request(1, &kmsg.MetadataRequest{}, 9))
	eventually(t, "the request begun", func() bool { return h.handler.begunCount() == 1 })
	closeSocket(c)
	if err := <-h.handler.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestStopFinishesAnswers(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *Config) { c.DrainTimeout = patience })
	release := make(chan struct{})
	h.handler.hold[1] = release
	c := h.dial(t, "clients")
	c.send(request(1, &kmsg.MetadataRequest{}, 9))
	eventually(t, "the request begun", func() bool { return h.handler.begunCount() == 1 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); h.stop() }()
	eventually(t, "the listeners closed", func() bool { return h.Addr("clients") == nil })
	close(release)
	if id, _ := c.answer(); id != 1 {
		t.Errorf("got answer %d, want 1", id)
	}
	c.wantClosed()
	<-stopped
}
