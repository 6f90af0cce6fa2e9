package etcdraft

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// What was only appended is salvaged like what is known to be committed.
func TestSalvageTakesTheUndecidedEnd(t *testing.T) {
	dir := t.TempDir()
	b := newBackend(nil, seglog.OS())
	b.cfg.DataDir, b.options = dir, DefaultOptions()
	b.log = slog.New(slog.DiscardHandler)
	log, err := b.openLog()
	if err != nil {
		t.Fatal(err)
	}
	mark, err := snapshotMeta{Config: config{Voters: []uint64{1, 2, 3}}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	entries := []seglog.Entry{{Index: 1, Term: 1, Type: uint8(raftpb.EntryNormal)}}
	for i := uint64(2); i <= 5; i++ {
		entries = append(entries, seglog.Entry{Index: i, Term: 2, Type: uint8(raftpb.EntryNormal), Data: []byte{proposalMark, byte(i)}})
	}
	if err := errors.Join(
		log.Append(true, seglog.Write{Group: 1, Mark: &seglog.Mark{Data: mark}}),
		log.Append(true, seglog.Write{Group: 1, Entries: entries, State: &seglog.State{Term: 3, Vote: 2, Commit: 3}}),
		log.Close()); err != nil {
		t.Fatal(err)
	}

	r, err := newBackend(nil, seglog.OS()).Salvage(dir, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, want := r.Extent(), (consensus.Extent{Term: 3, LastIndex: 5, LastTerm: 2, Committed: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, _, err := r.Snapshot(); !errors.Is(err, consensus.ErrNoSnapshot) {
		t.Errorf("snapshot: %v", err)
	}
	got, err := r.Read(1)
	if err != nil || len(got) != 5 || !got[0].Internal || got[4].Index != 5 || string(got[4].Data) != "\x05" {
		t.Errorf("entries %+v, %v", got, err)
	}
	if rest, err := r.Read(6); err != nil || len(rest) != 0 {
		t.Errorf("behind the end: %v, %v", rest, err)
	}
}

func TestSalvageNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := newBackend(nil, seglog.OS()).Salvage(filepath.Join(dir, "nowhere"), nil, 1); err == nil {
		t.Error("no directory, no error")
	}
}
