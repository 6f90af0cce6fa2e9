package solo

import (
	"errors"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
)

func TestConformance(t *testing.T) {
	consensustest.Run(t, consensustest.Config{New: New})
}

// After a failed write nothing is acknowledged, and the process ends.
func TestFailedWriteIsFatal(t *testing.T) {
	b := newBackend()
	fatal := make(chan error, 1)
	b.fatal = func(err error) { fatal <- err }
	if err := b.Start(t.Context(), consensus.StartConfig{ReplicaID: 1, DataDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	opened, err := b.OpenGroup(t.Context(), consensus.GroupSpec{
		ID: consensus.Metadata, Mode: consensus.OpenBootstrap, Members: []consensus.Member{{ReplicaID: 1, Role: consensus.Voter}},
	})
	if err != nil {
		t.Fatal(err)
	}
	g := opened.(*group)
	l, _ := g.Leadership()
	if err := g.journal.f.Close(); err != nil { // every write fails from now on
		t.Fatal(err)
	}
	propose := func() consensus.Result {
		results := make(chan consensus.Result, 1)
		g.Propose(l.Term, []byte("x"), func(r consensus.Result) { results <- r })
		return <-results
	}
	if r := propose(); r.Outcome != consensus.Unknown || !errors.Is(r.Err, consensus.ErrStorageFailed) {
		t.Fatalf("the write that failed: %+v", r)
	}
	if err := <-fatal; !errors.Is(err, consensus.ErrStorageFailed) {
		t.Fatalf("fatal: %v", err)
	}
	if r := propose(); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrStorageFailed) {
		t.Fatalf("a write after that: %+v", r)
	}
	if l, _ := g.Leadership(); l.Role != consensus.Follower {
		t.Fatalf("it still leads: %+v", l)
	}
}
