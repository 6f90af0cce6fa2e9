package hashicorpraft

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

func listenFor(t *testing.T, cluster string) *layer {
	t.Helper()
	return listenWith(t, consensus.StartConfig{ClusterID: cluster, Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"}})
}

func listenWith(t *testing.T, cfg consensus.StartConfig) *layer {
	t.Helper()
	s, err := listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.open(nil, nil)
}

func dial(t *testing.T, from, to *layer) net.Conn {
	t.Helper()
	conn, err := from.Dial(raft.ServerAddress(to.Addr().String()), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestPeerOfTheSameClusterIsAccepted(t *testing.T) {
	a, b := listenFor(t, "c"), listenFor(t, "c")
	out := dial(t, a, b)
	in, err := b.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	// Close ends what was accepted and what was dialled, though the library still
	// holds it, and not the listener: the group may be opened again.
	back := dial(t, b, a)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for what, conn := range map[string]net.Conn{"accepted": in, "dialled": back} {
		if _, err := conn.Read(got); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a connection that was %s outlived Close: %v", what, err)
		}
	}
	if _, err := b.Accept(); err == nil {
		t.Error("accepted after Close")
	}
	if _, err := b.Dial(raft.ServerAddress(a.Addr().String()), 5*time.Second); err == nil {
		t.Error("dialled after Close")
	}
	again := b.open(nil, nil)
	dial(t, a, again)
	if _, err := again.Accept(); err != nil {
		t.Errorf("after it was opened again: %v", err)
	}
}

// A replica that listens where another should does not answer for it.
func TestAnotherReplicaIsMeant(t *testing.T) {
	t.Parallel()
	endpoint := consensus.PeerEndpoint{Listen: "127.0.0.1:0"}
	b := listenWith(t, consensus.StartConfig{ClusterID: "c", ReplicaID: 2, Peer: endpoint})
	for meant, refused := range map[uint64]bool{4: true, 2: false, consensus.NoLeader: false} {
		a := listenWith(t, consensus.StartConfig{ClusterID: "c", ReplicaID: 1, Peer: endpoint})
		a.owner = func(raft.ServerAddress) uint64 { return meant }
		conn := dial(t, a, b)
		if refused {
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("replica 2 answers for %d: %v", meant, err)
			}
			continue
		}
		if _, err := b.Accept(); err != nil {
			t.Errorf("replica %d was meant: %v", meant, err)
		}
	}
}

// A peer that falls silent within a request is cut off, since the library may be
// reading in its main loop; between requests it may be silent.
func TestSilenceWithinARequest(t *testing.T) {
	t.Parallel()
	out, accepted := net.Pipe()
	in := &tracked{Conn: accepted, stall: 300 * time.Millisecond, forget: func() {}}
	t.Cleanup(func() { _ = errors.Join(in.Close(), out.Close()) })
	read := make(chan error, 1)
	receive := func() {
		_, err := io.ReadFull(in, make([]byte, 1))
		read <- err
	}
	send := func(from io.Writer) {
		t.Helper()
		if _, err := from.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	go receive()
	send(out)
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = in.Write([]byte("x")) }() // the answer; the read below fails if this does
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	go receive()
	select {
	case err := <-read:
		t.Fatalf("cut off between requests: %v", err)
	case <-time.After(4 * in.stall):
	}
	send(out)
	if err := <-read; err != nil {
		t.Fatalf("a request after a pause: %v", err)
	}
	if receive(); !errors.Is(<-read, os.ErrDeadlineExceeded) {
		t.Fatal("not cut off within a request")
	}
}
