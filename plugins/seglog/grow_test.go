package seglog

import (
	"log/slog"
	"testing"
)

// sizeOf is the size of the active segment.
func sizeOf(t *testing.T, l *Log) int64 {
	t.Helper()
	size, err := l.active.file.Size()
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// A segment without a spare grows in steps, not with every batch; it goes on where it
// was after a restart, and never beyond the size of a segment but for a batch that is
// larger.
func TestGrowsInSteps(t *testing.T) {
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.Spares = 3*growStep+1000, 0
	dir := t.TempDir()
	var l *Log
	open := func() {
		t.Helper()
		var err error
		if l, err = Open(dir, cfg, OS(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	index := uint64(0)
	add := func(bytes int) int64 {
		t.Helper()
		index++
		if err := l.Append(true, Write{Group: 1, Entries: []Entry{{Index: index, Term: 1, Data: make([]byte, bytes)}}}); err != nil {
			t.Fatal(err)
		}
		return sizeOf(t, l)
	}
	open()
	for step, bytes := range []int{100, growStep - 1000, 2000, growStep} {
		want := []int64{1, 1, 2, 3}[step] * growStep
		if got := add(bytes); got != want {
			t.Fatalf("step %d: %d bytes, want %d", step, got, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	open()
	if got, want := add(100), int64(3*growStep); got != want {
		t.Errorf("after a restart: %d bytes, want %d", got, want)
	}
	if got := add(growStep - 4000); got != cfg.SegmentBytes && got != 3*growStep {
		t.Errorf("near its end: %d bytes, of at most %d", got, cfg.SegmentBytes)
	}
	before := l.active.sequence
	if got := add(4 * growStep); l.active.sequence == before || got <= cfg.SegmentBytes || got > 4*growStep+1000 {
		t.Errorf("a batch that fits nowhere: %d bytes in segment %d", got, l.active.sequence)
	}
	if info, _ := l.Info(1); info.Last != index {
		t.Errorf("the log ends at %d, want %d", info.Last, index)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
