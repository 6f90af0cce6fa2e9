package sdk

import (
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// TestHostPipe: the end of the pipe must be seen by itself, since it is much
// earlier than a new parent.
func TestHostPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(r.Fd())) // watchHost keeps what it is given
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	gone := watchHost(NewServer(noBackend{}), strconv.Itoa(fd))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if why := <-gone; !strings.Contains(why, "pipe") {
		t.Errorf("got %q", why)
	}
}

// handedOver is a led group that tells whom it was handed to.
type handedOver struct {
	ledGroup
	to chan uint64
}

func (g handedOver) TransferLeadership(_ context.Context, to uint64) error {
	g.to <- to
	return nil
}

// A host that hangs keeps its plugin, but not the leadership: for as long as the
// lease nobody would decide anything.
func TestSilentHostHandsOver(t *testing.T) {
	g := handedOver{to: make(chan uint64, 1)}
	for id := range uint64(3) {
		g.members = append(g.members, consensus.Member{ReplicaID: id + 1, Role: consensus.Voter})
	}
	s := NewServer(noBackend{})
	s.groups[1] = &group{id: 1, log: g}
	s.lease = time.Second
	s.born = s.born.Add(-500 * time.Millisecond) // half a lease without a call
	gone := make(chan string, 1)
	go func() { gone <- s.pollHost(os.Getppid()) }()
	select {
	case to := <-g.to:
		if to == 1 {
			t.Error("handed over to itself")
		}
	case why := <-gone:
		t.Fatalf("not handed over before the end: %s", why)
	}
	if why := <-gone; !strings.Contains(why, "lease") {
		t.Errorf("got %q", why)
	}
}
