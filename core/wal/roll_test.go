package wal

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// Segments are begun at the size of the index too.
func TestRollByIndexSize(t *testing.T) {
	cfg := smallConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.SegmentIndexBytes = 1<<20, 1, 3*offsetEntrySize
	l := open(t, t.TempDir(), cfg)
	for range 20 {
		mustAppend(t, l, 0, batchOf(1, "r", 1))
	}
	for i, s := range l.view.Load().segments {
		if n := s.offsets.count(); n > 3 {
			t.Errorf("segment %d has %d index entries, 3 are allowed", i, n)
		}
	}
	if n := len(l.view.Load().segments); n != 5 { // the first batch of a segment has no entry
		t.Errorf("%d segments, want 5", n)
	}
}

// With a jitter, logs that were made together roll at different times, none later than
// without.
func TestRollJitter(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	cfg := smallConfig()
	cfg.SegmentBytes, cfg.SegmentAge, cfg.SegmentJitter = 1<<20, 100*time.Minute, 50*time.Minute
	dir := t.TempDir()
	var logs []*Log
	for i := range 20 {
		l := open(t, filepath.Join(dir, fmt.Sprintf("t-%d", i)), cfg, WithClock(func() time.Time { return now }))
		mustAppend(t, l, 0, batchOf(1, "r", 1_000_000))
		logs = append(logs, l)
	}
	rolled := func() (n int) {
		for _, l := range logs {
			mustAppend(t, l, 0, batchOf(1, "r", 1_000_000))
			if len(l.view.Load().segments) > 1 {
				n++
			}
		}
		return n
	}
	for _, step := range []struct {
		after    time.Duration
		min, max int
	}{{49 * time.Minute, 0, 0}, {75 * time.Minute, 3, 17}, {100 * time.Minute, 20, 20}} {
		now = time.UnixMilli(1_000_000).Add(step.after)
		if n := rolled(); n < step.min || n > step.max {
			t.Errorf("after %v: %d of 20 logs have rolled, want %d to %d", step.after, n, step.min, step.max)
		}
	}
}
