package wal

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// TestReadersBesideEverything reads while the log grows, rolls, shrinks and is
// deleted from. Readers see whole batches with the right offsets, or a refusal.
func TestReadersBesideEverything(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig(), WithFiles(filecache.New(3)))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for r := range 3 {
		wg.Go(func() {
			for !stop.Load() {
				readOnce(t, l)
				if _, _, _, _, err := l.OffsetForTime(int64(r) * 300); err != nil {
					t.Errorf("offset for time: %v", err)
				}
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			if err := l.Sync(t.Context(), l.Durable()+1); err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
				t.Errorf("sync: %v", err)
			}
		}
	})
	for i := range 2000 {
		mustAppend(t, l, 0, batchOf(i%3+1, "r", int64(i)))
		switch {
		case i%97 == 0:
			if err := l.Truncate(max(l.Start(), l.End()-20)); err != nil {
				t.Error(err)
			}
		case i%211 == 0:
			if err := l.SetStart(max(l.Start(), l.End()-300)); err != nil {
				t.Error(err)
			}
		case i%1501 == 1500:
			if err := l.Reset(l.End() + 5); err != nil {
				t.Error(err)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
}

func readOnce(t *testing.T, l *Log) {
	from := max(l.Start(), l.End()-100)
	b, err := l.Read(from, l.End(), 2000, true)
	if err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("read at %d: %v", from, err)
	}
	next := int64(-1)
	for batch, err := range record.Split(b) {
		if err != nil || !batch.CheckCRC() || next >= 0 && batch.BaseOffset() != next || batch.LastOffset() < from {
			t.Errorf("read at %d: batch at %d instead of %d, %v", from, batch.BaseOffset(), next, err)
			return
		}
		next = batch.LastOffset() + 1
	}
}
