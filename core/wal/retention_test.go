package wal

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/protocol/record"
)

func TestRetain(t *testing.T) {
	const n = 40
	tests := []struct {
		name      string
		policy    RetentionPolicy
		wantStart func(l *Log, bases []int64) int64
	}{{
		name:      "nothing without limits",
		policy:    RetentionPolicy{UpTo: n},
		wantStart: func(*Log, []int64) int64 { return 0 },
	}, {
		name:      "by bytes, no less than the limit remains",
		policy:    RetentionPolicy{UpTo: n, MaxBytes: 1000},
		wantStart: func(_ *Log, bases []int64) int64 { return bases[len(bases)-2] },
	}, {
		name:      "not above the high watermark",
		policy:    RetentionPolicy{UpTo: 10, MaxBytes: 1},
		wantStart: func(_ *Log, bases []int64) int64 { return bases[1] },
	}, {
		name:      "by age, the active one too if all of it is old",
		policy:    RetentionPolicy{UpTo: n, MaxAge: time.Hour},
		wantStart: func(l *Log, _ []int64) int64 { return l.End() },
	}, {
		name:      "by age, but young",
		policy:    RetentionPolicy{UpTo: n, MaxAge: 1000 * time.Hour},
		wantStart: func(*Log, []int64) int64 { return 0 },
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			now := time.UnixMilli(1_000_000_000)
			l := open(t, dir, smallConfig(), WithClock(func() time.Time { return now }))
			for range n {
				mustAppend(t, l, 0, batchOf(1, "r", now.UnixMilli()))
			}
			var bases []int64
			for _, s := range l.view.Load().segments {
				bases = append(bases, s.base)
			}
			now = now.Add(2 * time.Hour)
			deleted, err := l.Retain(t.Context(), tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			if want := tt.wantStart(l, bases); l.Start() != want {
				t.Errorf("start is %d, want %d (segments at %v)", l.Start(), want, bases)
			}
			files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
			if len(files) != len(l.view.Load().segments) || deleted > 0 && len(bases)+1 < len(files)+deleted {
				t.Errorf("%d files, %d deleted, %d segments before", len(files), deleted, len(bases))
			}
			start := l.Start()
			l = open(t, dir, smallConfig())
			if l.Start() != start || l.End() != n {
				t.Errorf("after open: start %d end %d, want %d and %d", l.Start(), l.End(), start, n)
			}
		})
	}
}

func TestSetStart(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	for range 20 {
		mustAppend(t, l, 0, batchOf(3, "r", 1))
	}
	for _, step := range []struct {
		to, want int64
		err      error
	}{{31, 31, nil}, {5, 31, nil}, {61, 31, ErrOffsetOutOfRange}, {60, 60, nil}} {
		if err := l.SetStart(step.to); !errors.Is(err, step.err) || l.Start() != step.want {
			t.Fatalf("to %d: got %v and start %d, want %v and %d", step.to, err, l.Start(), step.err, step.want)
		}
		if _, err := l.Read(step.want-1, 60, 100, true); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("read before the start: %v", err)
		}
	}
	if l = open(t, dir, smallConfig()); l.Start() != 60 || l.End() != 60 {
		t.Errorf("after open: %d to %d", l.Start(), l.End())
	}
}

// The producer's only batch lies before the start, and the first segment that remains
// has begun after the start moved: its snapshot is the only trace of the producer, and
// not on disk yet.
func producerBeforeStart(t *testing.T, fsys FS) *Log {
	l := open(t, "/t-0", smallConfig(), WithFS(fsys))
	mustAppend(t, l, 0, producerBatchOf(3, "r", 7, 0, 0))
	mustSync(t, l)
	if err := l.MoveStart(3); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	err := l.roll()
	l.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestProducersOutliveTheirSegments cuts the power after RemoveBelowStart.
func TestProducersOutliveTheirSegments(t *testing.T) {
	for seed := range uint64(20) {
		fsys := disktest.New()
		if err := producerBeforeStart(t, fsys).RemoveBelowStart(t.Context()); err != nil {
			t.Fatal(err)
		}
		fsys.Crash(rand.New(rand.NewPCG(seed, 5)))
		l := open(t, "/t-0", smallConfig(), WithFS(fsys))
		if ps := l.Producers(); l.Start() != 3 || len(ps) != 1 || ps[0].ID != 7 {
			t.Fatalf("seed %d: the log starts at %d, producers %+v", seed, l.Start(), ps)
		}
	}
}

// TestInterruptedReset cuts the power at every call of a Reset: the log is as it was,
// or empty, or in between; but never has records whose producers it has forgotten.
func TestInterruptedReset(t *testing.T) {
	for budget, done := 0, false; !done; budget++ {
		for seed := range uint64(20) {
			fsys := disktest.New()
			l := producerBeforeStart(t, fsys)
			for range 4 { // of which some may be there after the cut
				mustAppend(t, l, 0, batchOf(2, "r", 1))
			}
			fsys.Budget = budget
			err := l.Reset(100)
			if done = err == nil; err != nil && !errors.Is(err, disktest.ErrPower) {
				t.Fatal(err)
			}
			fsys.Crash(rand.New(rand.NewPCG(seed, 5)))
			fsys.Budget = -1
			l = open(t, "/t-0", smallConfig(), WithFS(fsys))
			if n := len(l.Producers()); n == 0 && l.Size() > 0 || done && (n > 0 || l.Start() != 100) {
				t.Fatalf("cut at call %d, seed %d: %d producers, records %d to %d", budget, seed, n, l.Start(), l.End())
			}
		}
	}
}

func TestOffsetForTime(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	for i := range int64(30) {
		b := record.NewBuilder()
		b.Add(1000+10*i, nil, []byte("a"))
		b.Add(1005+10*i, nil, []byte("b"))
		mustAppend(t, l, int32(i/10), b.Bytes())
	}
	tests := []struct {
		ts, offset, timestamp int64
		found                 bool
	}{
		{0, 0, 1000, true}, {1000, 0, 1000, true}, {1001, 1, 1005, true}, {1143, 29, 1145, true}, {1295, 59, 1295, true}, {1296, -1, -1, false},
	}
	for _, tt := range tests {
		offset, timestamp, epoch, found, err := l.OffsetForTime(tt.ts)
		if err != nil || offset != tt.offset || timestamp != tt.timestamp || found != tt.found || found && epoch != int32(offset/20) {
			t.Errorf("%d: got %d, %d, epoch %d, %v, %v; want %d, %d, %v", tt.ts, offset, timestamp, epoch, found, err, tt.offset, tt.timestamp, tt.found)
		}
	}
	if offset, timestamp, _, found, err := l.MaxTimestamp(); offset != 59 || timestamp != 1295 || !found || err != nil {
		t.Errorf("max: got %d, %d, %v, %v", offset, timestamp, found, err)
	}
}

func TestLogAppendTime(t *testing.T) {
	cfg := smallConfig()
	cfg.LogAppendTime = true
	l := open(t, t.TempDir(), cfg, WithClock(func() time.Time { return time.UnixMilli(77) }))
	if a := mustAppend(t, l, 0, batchOf(2, "r", 5)); a.MaxTimestamp != 77 {
		t.Errorf("got %+v", a)
	}
	b, err := l.Read(0, 2, 1000, true)
	if err != nil || record.Validate(b, record.Limits{}) != nil {
		t.Fatal(err, record.Validate(b, record.Limits{}))
	}
	for r, err := range record.Batch(b).Records(record.DefaultDecompressLimits()) {
		if err != nil || r.Timestamp != 77 {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}

func TestDelete(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "t-0")
	l := open(t, dir, smallConfig())
	mustAppend(t, l, 0, batchOf(1, "r", 1))
	if err := l.Delete(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(data, "t-0.????????????????????????????????-delete", "*"+logSuffix)); len(left) != 1 {
		t.Errorf("waits to be removed: %v", left)
	}
	if _, err := os.Stat(dir); !isNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
	if _, err := l.Read(0, 1, 1, true); !errors.Is(err, ErrClosed) {
		t.Errorf("read: %v", err)
	}
	again := open(t, dir, smallConfig())
	if err := again.Close(); err != nil || again.End() != 0 {
		t.Errorf("made again: end %d, %v", again.End(), err)
	}
	if err := os.Mkdir(dir+deletedSuffix, 0o700); err != nil { // of an earlier version
		t.Fatal(err)
	}
	if err := RemoveDeleted(t.Context(), disk.OS{}, data); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(data + "/*"); !slices.Equal(left, []string{dir}) {
		t.Errorf("left: %v", left)
	}
	if name := filepath.Base(GoneName("/x/" + strings.Repeat("a", 249) + "-0")); len(name) != 255 || !isGone(name) {
		t.Errorf("%q has %d bytes", name, len(name))
	}
}

func TestTopicID(t *testing.T) {
	dir := t.TempDir()
	id := [16]byte{0xfb, 2, 3}
	l := open(t, dir, smallConfig(), WithTopicID(id))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := ReadTopicID(dir); got != id || !ok || err != nil {
		t.Errorf("got %x, %v, %v", got, ok, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, metadataFile)); string(b) != "version: 0\ntopic_id: -wIDAAAAAAAAAAAAAAAAAA" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := Open(dir, smallConfig(), l.log, WithTopicID([16]byte{9})); !errors.Is(err, ErrTopicID) {
		t.Errorf("got %v", err)
	}
}

func TestCleanCloseIsNotScanned(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	for i := range 20 {
		mustAppend(t, l, 0, batchOf(1, "r", int64(i)))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	l, err := Open(dir, smallConfig(), textLogger(&text))
	if err != nil {
		t.Fatal(err)
	}
	if text.Len() > 0 {
		t.Errorf("a clean log was scanned: %s", &text)
	}
	if _, ts, _, _, _ := l.MaxTimestamp(); ts != 19 {
		t.Errorf("max timestamp is %d", ts)
	}
	// A marker that a power cut brought back must not be believed.
	marker, err := os.ReadFile(filepath.Join(dir, cleanFile))
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 0, batchOf(1, "r", 30))
	if err := os.WriteFile(filepath.Join(dir, cleanFile), marker, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(dir, smallConfig(), textLogger(&text)); err != nil || l.End() != 21 || !strings.Contains(text.String(), "scanned") {
		t.Errorf("got %v, end %d, log %q", err, l.End(), &text)
	}
}
