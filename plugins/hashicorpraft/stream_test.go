package hashicorpraft

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

func listenFor(t *testing.T, cluster string) *streams {
	t.Helper()
	s, err := listen(consensus.StartConfig{ClusterID: cluster, Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, from, to *streams) net.Conn {
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
	// Close ends what was accepted, though the library still holds it.
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Read(got); err == nil {
		t.Fatal("an accepted connection outlived Close")
	}
	if _, err := b.Accept(); err == nil {
		t.Fatal("accepted after Close")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	here := listenFor(t, "c")
	raw, err := net.Dial("tcp", here.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	for name, conn := range map[string]net.Conn{"another cluster": dial(t, listenFor(t, "d"), here), "http": raw} {
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := conn.Read(make([]byte, 1))
		if timeout, ok := err.(net.Error); err == nil || ok && timeout.Timeout() { //nolint:errorlint // net's own
			t.Errorf("%s: not closed: %v", name, err)
		}
	}
}
