package hashicorpraft

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
)

func TestConformance(t *testing.T) {
	t.Parallel() // it mostly waits for elections
	onBothStores(t, func(t *testing.T, name string) {
		t.Parallel()
		// Small segments, so that the log has several.
		consensustest.Run(t, consensustest.Config{New: New, Options: fmt.Appendf(nil, `{"log_store": %q, "log_segment_bytes": 1048576}`, name)})
	})
}

// failing is a log whose writes fail once broken is set.
type failing struct {
	wal
	broken *atomic.Bool
}

var errDisk = errors.New("the disk is gone")

func (f failing) StoreLogs(logs []*raft.Log) error {
	if f.broken.Load() {
		return errDisk
	}
	return f.wal.StoreLogs(logs)
}

// A failed write of the log ends the process with nothing acknowledged, though
// the library would make the leader a follower and go on.
func TestFailedWriteIsFatal(t *testing.T) {
	t.Parallel()
	b := newBackend()
	fatal, broken := make(chan error, 64), &atomic.Bool{}
	b.fatal = func(err error) { fatal <- err }
	b.openLog = func(dir string, o Options) (wal, error) {
		w, err := openLog(dir, o)
		return failing{w, broken}, err
	}
	cfg := consensus.StartConfig{ReplicaID: 1, DataDir: t.TempDir(), Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"}}
	if err := b.Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	g, err := b.OpenGroup(t.Context(), consensus.GroupSpec{
		ID: consensus.Metadata, Mode: consensus.OpenBootstrap, Members: []consensus.Member{{ReplicaID: 1, Role: consensus.Voter}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, changed := g.Leadership()
	for l.Role != consensus.LeaderReady {
		<-changed
		l, changed = g.Leadership()
	}
	propose := func() consensus.Result {
		results := make(chan consensus.Result, 1)
		g.Propose(l.Term, []byte("x"), func(r consensus.Result) { results <- r })
		return <-results
	}
	if r := propose(); r.Outcome != consensus.Committed {
		t.Fatalf("before the failure: %+v", r)
	}
	broken.Store(true)
	if r := propose(); r.Outcome != consensus.Unknown || !errors.Is(r.Err, consensus.ErrStorageFailed) {
		t.Fatalf("the write that failed: %+v", r)
	}
	if err := <-fatal; !errors.Is(err, errDisk) {
		t.Fatalf("fatal: %v", err)
	}
	broken.Store(false) // the disk may seem to work again, and must not be trusted
	if r := propose(); r.Outcome == consensus.Committed {
		t.Fatalf("acknowledged after a failed write: %+v", r)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOneGroup(t *testing.T) {
	t.Parallel()
	b := New()
	if err := b.Start(t.Context(), consensus.StartConfig{ReplicaID: 1, DataDir: t.TempDir(), Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"}}); err != nil {
		t.Fatal(err)
	}
	spec := consensus.GroupSpec{ID: 1, Mode: consensus.OpenBootstrap, Members: []consensus.Member{{ReplicaID: 1, Role: consensus.Voter}}}
	if _, err := b.OpenGroup(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	spec.ID = 2
	if _, err := b.OpenGroup(t.Context(), spec); !errors.Is(err, consensus.ErrGroupLimit) {
		t.Fatalf("a second group: %v", err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	problems := New().Validate([]byte(`{"log_segment_bytes": 5, "log_store": "bolt", "max_append_entries": "many", "segment": 1}`))
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	if want := "log_segment_bytes log_store max_append_entries segment"; strings.Join(got, " ") != want {
		t.Fatalf("got problems with %q, want %q", got, want)
	}
}
