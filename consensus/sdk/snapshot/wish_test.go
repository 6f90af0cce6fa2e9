package snapshot

import (
	"testing"

	"github.com/quorate/quorate/consensus"
)

func TestWish(t *testing.T) {
	w := NewWish(consensus.GroupTuning{SnapshotRequestEntries: 50, SnapshotRequestBytes: 1000})
	for _, step := range []struct {
		name                       string
		committed, snapshot, bytes uint64
		want                       uint64
	}{
		{"nothing yet", 0, 0, 0, 0},
		{"too little", 49, 0, 999, 0},
		{"enough entries", 50, 0, 100, 50},
		{"a wish stays", 60, 0, 100, 50},
		{"it is fulfilled", 60, 50, 20, 0},
		{"enough bytes", 70, 50, 1000, 70},
		{"a snapshot that does not cover it", 80, 60, 1000, 70},
		{"one that does, too late", 200, 90, 100, 200},
		{"of all there is", 200, 200, 0, 0},
		{"a leader's, ahead of what is known to be committed", 200, 300, 0, 0},
	} {
		w.Update(func() (uint64, uint64, uint64) { return step.committed, step.snapshot, step.bytes })
		if got, _ := w.Get(); got != step.want {
			t.Errorf("%s: %d is wanted, want %d", step.name, got, step.want)
		}
	}
}

func TestWishDefaults(t *testing.T) {
	w := NewWish(consensus.GroupTuning{})
	w.Update(func() (uint64, uint64, uint64) { return defaultRequestEntries - 1, 0, defaultRequestBytes - 1 })
	if got, _ := w.Get(); got != 0 {
		t.Errorf("%d is wanted, below the defaults", got)
	}
	w.Update(func() (uint64, uint64, uint64) { return 10, 0, defaultRequestBytes })
	if got, _ := w.Get(); got != 10 {
		t.Errorf("%d is wanted, want 10", got)
	}
}
