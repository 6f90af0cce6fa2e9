package wal

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestEndOffsetForEpoch(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	for _, e := range []int32{2, 2, 5, 5, 9} {
		mustAppend(t, l, e, batchOf(10, "r", 1))
	}
	tests := []struct {
		asked, epoch int32
		end          int64
		ok           bool
	}{
		{-1, -1, -1, false}, {0, 0, 0, true}, {2, 2, 20, true}, {3, 2, 20, true}, {5, 5, 40, true}, {8, 5, 40, true}, {9, 9, 50, true}, {10, -1, -1, false},
	}
	for _, tt := range tests {
		if e, end, ok := l.EndOffsetForEpoch(tt.asked); e != tt.epoch || end != tt.end || ok != tt.ok {
			t.Errorf("epoch %d: got %d, %d, %v; want %d, %d, %v", tt.asked, e, end, ok, tt.epoch, tt.end, tt.ok)
		}
	}
	if e := l.EpochAt(19); e != 2 {
		t.Errorf("epoch at 19: got %d", e)
	}
	if err := l.Truncate(25); err != nil {
		t.Fatal(err)
	}
	if e, end, ok := l.EndOffsetForEpoch(5); l.End() != 20 || l.LatestEpoch() != 2 || ok {
		t.Errorf("after truncate: end %d, latest %d, epoch 5 %d %d %v", l.End(), l.LatestEpoch(), e, end, ok)
	}
}

func TestEpochFence(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	mustAppend(t, l, 4, batchOf(1, "r", 1))
	l.SetEpoch(6)
	if _, err := l.AppendAsLeader(5, batchOf(1, "r", 1)); !errors.Is(err, ErrFencedEpoch) {
		t.Errorf("got %v", err)
	}
	if err := l.StartEpoch(5); !errors.Is(err, ErrFencedEpoch) {
		t.Errorf("start: got %v", err)
	}
	if err := l.StartEpoch(7); err != nil {
		t.Fatal(err)
	}
	if e, end, ok := l.EndOffsetForEpoch(4); e != 4 || end != 1 || !ok {
		t.Errorf("epoch 4 ends at %d, %d, %v", e, end, ok)
	}
	if e, end, ok := l.EndOffsetForEpoch(7); e != 7 || end != 1 || !ok {
		t.Errorf("epoch 7 ends at %d, %d, %v", e, end, ok)
	}
}

func TestEpochFileIsThereBeforeTheAcknowledgement(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	mustAppend(t, l, 3, batchOf(2, "r", 1))
	mustAppend(t, l, 8, batchOf(2, "r", 1))
	mustSync(t, l)
	b, err := os.ReadFile(filepath.Join(dir, epochsFile))
	if want := "0\n2\n3 0\n8 2\n"; err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
}

func TestFollower(t *testing.T) {
	leader := open(t, t.TempDir(), smallConfig())
	for i := range int32(10) {
		mustAppend(t, leader, i/4, producerBatchOf(3, "r", 7, 0, 3*i))
	}
	b, err := leader.Read(0, 30, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	follower := open(t, t.TempDir(), smallConfig())
	for follower.End() < leader.End() {
		if b, err = leader.Read(follower.End(), leader.End(), 1<<20, true); err != nil {
			t.Fatal(err)
		}
		if _, err := follower.AppendAsFollower(b); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := offsets(t, follower), offsets(t, leader); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !slices.Equal(follower.epochs.all(), leader.epochs.all()) || !slices.Equal(follower.Producers(), leader.Producers()) {
		t.Errorf("got %v %v, want %v %v", follower.epochs.all(), follower.Producers(), leader.epochs.all(), leader.Producers())
	}
	if _, err := follower.AppendAsFollower(b); !errors.Is(err, ErrNotContiguous) {
		t.Errorf("again: got %v", err)
	}
	// A leader's start may lie within a batch.
	if err := leader.SetStart(4); err != nil {
		t.Fatal(err)
	}
	if err := follower.Reset(leader.Start()); err != nil {
		t.Fatal(err)
	}
	if b, err = leader.Read(4, 30, 1, true); err != nil {
		t.Fatal(err)
	}
	if _, err := follower.AppendAsFollower(b); err != nil || follower.Start() != 3 || follower.End() != 6 {
		t.Errorf("got %v, start %d end %d, want 3 and 6", err, follower.Start(), follower.End())
	}
}

// An epoch in the file that its records deny is damage, that of the first record too:
// a follower would refuse everything that its leader sends.
func TestDamagedFirstEpochIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	mustAppend(t, l, 3, batchOf(2, "r", 1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, epochsFile)
	if err := os.WriteFile(name, []byte("0\n1\n4 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, smallConfig(), slog.New(slog.DiscardHandler))
	if damage, ok := errors.AsType[*CorruptError](err); !ok || damage.File != name {
		t.Errorf("error is %v, want damage in %s", err, name)
	}
}
