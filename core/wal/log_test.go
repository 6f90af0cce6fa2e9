package wal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/quorate/quorate/protocol/record"
)

func TestAppendReadReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "orders-0")
	for _, clean := range []bool{true, false} {
		l := open(t, dir, smallConfig())
		before := l.End()
		for i := range 20 {
			a := mustAppend(t, l, 3, batchOf(i%3+1, "r", int64(1000+i)))
			if a.End != l.End() || a.Last != a.End-1 || a.First != a.End-int64(i%3+1) {
				t.Fatalf("append %d: got %+v, end %d", i, a, l.End())
			}
		}
		mustSync(t, l)
		if l.Durable() != l.End() || l.End() <= before {
			t.Fatalf("durable %d, end %d", l.Durable(), l.End())
		}
		want, end := offsets(t, l), l.End()
		if clean {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		l = open(t, dir, smallConfig())
		if got := offsets(t, l); !slices.Equal(got, want) || l.End() != end || l.Durable() != end {
			t.Errorf("clean %v: got end %d and batches at %v, want %d and %v", clean, l.End(), got, end, want)
		}
		if e, off, ok := l.EndOffsetForEpoch(3); e != 3 || off != end || !ok {
			t.Errorf("clean %v: epoch 3 ends at %d, %d, %v", clean, e, off, ok)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadLimits(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	for i := range 12 {
		mustAppend(t, l, 0, batchOf(3, "r", int64(i)))
	}
	size := len(batchOf(3, "r", 0))
	tests := []struct {
		name       string
		from, upTo int64
		max        int
		minOne     bool
		wantFirst  int64
		wantBytes  int
		wantErr    error
	}{
		{name: "middle of a batch gives the whole", from: 4, upTo: 36, max: size, wantFirst: 3, wantBytes: size},
		{name: "first batch whole above the limit", from: 3, upTo: 36, max: 1, minOne: true, wantFirst: 3, wantBytes: size},
		{name: "or nothing", from: 3, upTo: 36, max: 1},
		{name: "not beyond upTo", from: 0, upTo: 4, max: 1 << 20, wantBytes: 2 * size},
		{name: "whole batches only", from: 0, upTo: 36, max: 2*size + 5, wantBytes: 2 * size},
		{name: "at the end", from: 36, upTo: 36, max: 1 << 20},
		{name: "beyond the end", from: 37, upTo: 40, max: 1 << 20, wantErr: ErrOffsetOutOfRange},
		{name: "before the start", from: -1, upTo: 40, max: 1 << 20, wantErr: ErrOffsetOutOfRange},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := l.Read(tt.from, tt.upTo, tt.max, tt.minOne)
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("got error %v, want %v", err, tt.wantErr)
			}
			if len(b) != tt.wantBytes || len(b) > 0 && record.Batch(b).BaseOffset() != tt.wantFirst {
				t.Errorf("got %d bytes, want %d from offset %d", len(b), tt.wantBytes, tt.wantFirst)
			}
		})
	}
}

func TestTornTailIsCut(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	for range 10 {
		mustAppend(t, l, 0, batchOf(2, "r", 1))
	}
	name, size := l.view.Load().active().name, l.view.Load().active().size.Load()
	if err := os.Truncate(name, size-3); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, smallConfig())
	if l.End() != 18 {
		t.Errorf("got end %d, want 18", l.End())
	}
	if a := mustAppend(t, l, 0, batchOf(2, "r", 1)); a.First != 18 {
		t.Errorf("next append got offset %d, want 18", a.First)
	}
	if got := offsets(t, l); len(got) != 10 {
		t.Errorf("got batches at %v", got)
	}
}

func TestDamageInSyncedSegmentIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	for range 30 {
		mustAppend(t, l, 0, batchOf(2, "r", 1))
	}
	mustSync(t, l)
	first := l.view.Load().segments[0].name
	b, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	size := len(batchOf(2, "r", 1))
	b[size+70] ^= 1
	if err := os.WriteFile(first, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, smallConfig(), l.log)
	corrupt, ok := errors.AsType[*CorruptError](err)
	if !ok || corrupt.File != first || corrupt.Offset != int64(size) {
		t.Fatalf("got %v", err)
	}
}

// Kafka's tools open the .index beside a .timeindex, and fail if there is none.
func TestSmallLogLeavesBothIndexes(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, DefaultConfig())
	mustAppend(t, l, 0, batchOf(1, "small", 1000))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for suffix, want := range map[string]int64{indexSuffix: 0, timeIndexSuffix: timeEntrySize} {
		info, err := os.Stat(offsetName(dir, 0, suffix))
		if err != nil || info.Size() != want {
			t.Errorf("%s: %v, %v, want %d bytes", suffix, info, err, want)
		}
	}
	if l = open(t, dir, DefaultConfig()); l.End() != 1 {
		t.Errorf("opened again the log ends at %d instead of 1", l.End())
	}
}
