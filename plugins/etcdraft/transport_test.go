package etcdraft

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

	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

func bigMessage(from, to uint64) *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), From: new(from), To: new(to), Term: new(uint64(1)), Index: new(uint64(0)),
		Entries: []*raftpb.Entry{{Index: new(uint64(1)), Term: new(uint64(1)), Data: make([]byte, 256<<10)}},
	}
}

func heartbeat(from, to, commit uint64) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(from), To: new(to), Term: new(uint64(1)), Commit: new(commit)}
}

// noHost is a transport's host without groups.
type noHost struct {
	mu          sync.Mutex
	unreachable int
}

func (h *noHost) group(uint64) *group { return nil }

func (h *noHost) peerUnreachable(uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unreachable++
}

func (h *noHost) follows(uint64) bool { return false }

func (h *noHost) peerGone(uint64) {}

func (h *noHost) reports() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unreachable
}

func newTestTransport(t *testing.T, self uint64, queue int) (*transport, *noHost) {
	t.Helper()
	host := &noHost{}
	tr, err := newTransport(consensus.StartConfig{
		ClusterID: "test", ReplicaID: self, Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"},
	}, queue, host, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	tr.start()
	t.Cleanup(tr.stop)
	return tr, host
}

func TestEnqueueNeverBlocks(t *testing.T) {
	t.Parallel()
	tr, _ := newTestTransport(t, 1, 64)
	tr.setGroup(1, config{Members: []consensus.Member{{ReplicaID: 2, Address: deaf(t, 2)}}}, nil)
	p := tr.peer(2)
	reports := 0
	m := bigMessage(1, 2)
	for range 2000 { // 500 MB to somebody who reads nothing
		p.enqueue(1, m, func(uint64) { reports++ })
	}
	if dropped := int(p.dropped.Load()); dropped < 1000 || reports == 0 || reports > dropped {
		t.Errorf("%d dropped, %d reported", dropped, reports)
	}
}

func TestMessagesFromBeforeAReconnectionAreNotSent(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // nobody listens
	tr, host := newTestTransport(t, 1, 64)
	tr.setGroup(1, config{Members: []consensus.Member{{ReplicaID: 2, Address: address}}}, nil)
	p := tr.peer(2)
	for range 50 {
		p.enqueue(1, heartbeat(1, 2, 111), func(uint64) {})
	}
	eventually(t, "the failed dial to be reported and the queue to be empty", func() bool {
		return host.reports() > 0 && p.dropped.Load() >= 49 && len(p.queue) == 0
	})
	other, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("the port is taken: %v", err)
	}
	defer func() { _ = other.Close() }()
	frames := make(chan uint64, 1)
	go func() {
		conn, err := other.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		if _, err := readHello(conn); err != nil || writeAnswer(conn, 2, nil) != nil {
			return
		}
		if _, m, _, err := readFrame(conn, nil); err == nil {
			frames <- m.GetCommit()
		}
	}()
	eventually(t, "a message to arrive", func() bool {
		p.enqueue(1, heartbeat(1, 2, 222), func(uint64) {})
		return len(frames) > 0
	})
	if got := <-frames; got != 222 {
		t.Errorf("the first message after the reconnection is an old one: %d", got)
	}
}

func TestHello(t *testing.T) {
	tr, _ := newTestTransport(t, 1, 64)
	tests := []struct {
		name string
		h    hello
		want string // in the error, "" = accepted
	}{
		{"peer", hello{messageConn, 2, 1, "test", ""}, ""},
		{"foreign cluster", hello{messageConn, 2, 1, "other", ""}, `cluster \"other\"`},
		{"for another replica", hello{messageConn, 2, 3, "test", ""}, "looks for replica 3"},
		{"from itself", hello{messageConn, 1, 1, "test", ""}, "not a peer's"},
		{"no kind", hello{9, 2, 1, "test", ""}, "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", tr.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := writeHello(conn, tt.h); err != nil {
				t.Fatal(err)
			}
			err = readAnswer(conn, 1)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if err := readAnswer(strings.NewReader("HTTP/1.1 400 Bad Request"), 1); !errors.Is(err, errNotPeer) {
		t.Errorf("an answer of somebody else: %v", err)
	}
}

func TestTransportDropsConnectionsThatSendGarbage(t *testing.T) {
	tr, _ := newTestTransport(t, 1, 64)
	good, err := appendFrame(nil, 1, heartbeat(2, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	foreign, err := appendFrame(nil, 1, heartbeat(3, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"length":   append(binary.LittleEndian.AppendUint32(nil, 1<<31), 0, 0, 0, 0),
		"checksum": flipped,
		"foreign":  foreign,
		"text":     []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", tr.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := writeHello(conn, hello{messageConn, 2, 1, "test", ""}); err != nil {
				t.Fatal(err)
			}
			if err := readAnswer(conn, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(append(bytes.Clone(good), b...)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection ended with %v", err)
			}
		})
	}
}

func TestReceiveHoldsBackOnePeerOnly(t *testing.T) {
	g := &group{inbox: newInbox(), ctx: context.Background()}
	g.budgets = make(map[uint64]*weighted)
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		if err := g.receive(ctx, 2, heartbeat(2, 1, 0), receiveBudget/2-messageOverhead); err != nil {
			t.Fatal(err)
		}
	}
	full := make(chan error)
	go func() { full <- g.receive(ctx, 2, heartbeat(2, 1, 0), 1) }()
	if err := g.receive(ctx, 3, heartbeat(3, 1, 0), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-full; !errors.Is(err, context.Canceled) {
		t.Errorf("a message over the budget: %v", err)
	}
	if n := len(g.inbox.take().messages); n != 3 {
		t.Errorf("%d messages in the inbox, want 3", n)
	}
}
