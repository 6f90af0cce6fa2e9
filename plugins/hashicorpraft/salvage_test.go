package hashicorpraft

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// The library does not write down what is committed: whatever was appended is
// salvaged.
func TestSalvageTakesTheUndecidedEnd(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, storeSegments, groupDir(dir, 1))
	if err := s.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogNoop}); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 2, 5, 2)
	if err := errors.Join(s.SetUint64([]byte("CurrentTerm"), 4), s.wal.Close()); err != nil {
		t.Fatal(err)
	}

	r, err := newBackend().Salvage(dir, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, want := r.Extent(), (consensus.Extent{Term: 4, LastIndex: 5, LastTerm: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, _, err := r.Snapshot(); !errors.Is(err, consensus.ErrNoSnapshot) {
		t.Errorf("snapshot: %v", err)
	}
	got, err := r.Read(1)
	if err != nil || len(got) != 5 || !got[0].Internal || got[4].Index != 5 || string(got[4].Data) != "entry" {
		t.Errorf("entries %+v, %v", got, err)
	}
	if rest, err := r.Read(6); err != nil || len(rest) != 0 {
		t.Errorf("behind the end: %v, %v", rest, err)
	}
}

func TestSalvageNothing(t *testing.T) {
	if _, err := newBackend().Salvage(t.TempDir(), nil, 1); !errors.Is(err, consensus.ErrGroupNotFound) {
		t.Errorf("got %v", err)
	}
}
