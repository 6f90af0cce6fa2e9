package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// keyed makes a batch with a record for each key, whose value is name.
func keyed(name string, keys ...string) record.Batch {
	b := record.NewBuilder()
	for _, k := range keys {
		b.Add(1000, []byte(k), []byte(name))
	}
	return b.Bytes()
}

// contents is "key=value" of every record by offset.
func contents(t *testing.T, l *Log) map[int64]string {
	t.Helper()
	all := map[int64]string{}
	for at := l.Start(); at < l.End(); {
		b, err := l.Read(at, l.End(), 1000, true)
		if err != nil || len(b) == 0 {
			t.Fatalf("read at %d: %d bytes, %v", at, len(b), err)
		}
		for batch := range record.Split(b) {
			for r, err := range batch.Records(record.DefaultDecompressLimits()) {
				if err != nil {
					t.Fatal(err)
				}
				all[r.Offset] = fmt.Sprintf("%s=%s", r.Key, r.Value)
			}
			at = batch.LastOffset() + 1
		}
	}
	return all
}

func everything(l *Log) CleanPolicy {
	return CleanPolicy{UpTo: l.End(), DeleteRetention: time.Hour, MapBytes: 1 << 20}
}

func mustClean(t *testing.T, l *Log, p CleanPolicy) CleanStats {
	t.Helper()
	stats, err := l.Clean(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func TestCleanGroups(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	round := func() (before, after int) {
		for i := range 40 {
			mustAppend(t, l, 0, keyed(strings.Repeat("v", 100), fmt.Sprint(i%4)))
		}
		before = len(l.view.Load().segments)
		stats := mustClean(t, l, everything(l))
		if stats.Segments == 0 || stats.RecordsKept >= stats.RecordsRead {
			t.Errorf("%+v", stats)
		}
		for _, s := range l.view.Load().segments {
			if s.size.Load() > l.cfg.SegmentBytes {
				t.Errorf("segment at %d has %d bytes", s.base, s.size.Load())
			}
		}
		return before, len(l.view.Load().segments)
	}
	round() // leaves small segments, which the next round joins
	if before, after := round(); after >= before {
		t.Errorf("%d segments of %d", after, before)
	}
	if d, err := l.Dirt(everything(l)); err != nil || d.DirtyBytes != 0 || d.CleanBytes == 0 {
		t.Errorf("after a compaction: %+v, %v", d, err)
	}
	if again := mustClean(t, l, everything(l)); again.Segments != 0 {
		t.Errorf("compacted again without anything new: %+v", again)
	}
}

// A group's offsets must fit into an index entry.
func TestCleanKeepsOffsetRange(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	if err := l.Reset(0); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 1, math.MaxInt32 - 1, math.MaxInt32, math.MaxInt32 + 1, 2 * math.MaxInt32} {
		b := keyed("v", "a")
		b.SetBaseOffset(at)
		b.SetLeaderEpoch(0)
		if _, err := l.AppendAsFollower(b); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		err := l.roll()
		l.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	mustClean(t, l, everything(l))
	for _, s := range l.view.Load().segments {
		if e, ok, err := s.offsets.lastEntry(); err != nil || ok && int64(e.relative) > math.MaxInt32 {
			t.Errorf("segment at %d: %+v, %v", s.base, e, err)
		}
	}
	if got := contents(t, l); len(got) != 1 || got[2*math.MaxInt32] != "a=v" {
		t.Errorf("left: %v", got)
	}
	end := l.End()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l = open(t, dir, smallConfig()); l.End() != end {
		t.Errorf("opened again the log ends at %d instead of %d", l.End(), end)
	}
}

// What an aborted transaction wrote goes, and hides nothing; what a committed one wrote
// counts; what an open one wrote, or one whose marker may still be lost, stays.
func TestCleanTransactions(t *testing.T) {
	data := func(id int64, sequence int32, name string, keys ...string) record.Batch {
		b := record.NewBuilder()
		b.SetProducer(id, 0, sequence)
		b.SetTransactional()
		for _, k := range keys {
			b.Add(1000, []byte(k), []byte(name))
		}
		return b.Bytes()
	}
	marker := func(id int64, commit byte) record.Batch {
		b := record.NewBuilder()
		b.SetProducer(id, 0, -1)
		b.SetTransactional()
		b.SetControl()
		b.Add(1000, []byte{0, 0, 0, commit}, []byte{0, 0, 0, 0, 0, 0})
		return b.Bytes()
	}
	cfg := smallConfig()
	cfg.SegmentBytes = 1 // a batch each
	dir := t.TempDir()
	l := open(t, dir, cfg)
	mustAppend(t, l, 0, keyed("old", "a", "b", "c", "d"))              // 0 to 3
	mustAppend(t, l, 0, data(1, 0, "aborted", "a"))                    // 4
	mustAppend(t, l, 0, data(2, 0, "committed", "b"))                  // 5
	mustAppend(t, l, 0, marker(1, 0))                                  // 6
	mustAppend(t, l, 0, marker(2, 1))                                  // 7
	late := mustAppend(t, l, 0, data(3, 0, "late", "c")).First         // 8
	markerAt := mustAppend(t, l, 0, marker(3, 0)).First                // 9
	undecided := mustAppend(t, l, 0, data(4, 0, "undecided", "d")).End // 10
	mustAppend(t, l, 0, keyed("new", "x"))
	mustAppend(t, l, 0, keyed("new", "y"))

	p := everything(l)
	p.UpTo = markerAt // the marker of 3 may be truncated, and be another one then
	mustClean(t, l, p)
	got := contents(t, l)
	for offset, want := range map[int64]string{0: "a=old", 1: "", 2: "c=old", 3: "d=old", 4: "", 5: "b=committed", late: "c=late"} {
		if got[offset] != want {
			t.Errorf("offset %d: %q, want %q", offset, got[offset], want)
		}
	}
	mustAppend(t, l, 0, keyed("new", "z"))
	mustClean(t, l, everything(l))
	got = contents(t, l)
	if got[late] != "" || got[2] != "c=old" || got[3] != "d=old" || got[undecided-1] != "d=undecided" {
		t.Errorf("left: %v", got)
	}
	if l.checkpoint.clean > undecided-1 {
		t.Errorf("compacted to %d, beyond the open transaction at %d", l.checkpoint.clean, undecided-1)
	}
	for _, when := range []string{"after the compaction", "after a restart"} {
		aborted, err := l.AbortedTransactions(0, l.End())
		if err != nil || len(aborted) != 2 || aborted[0].ProducerID != 1 || aborted[1].ProducerID != 3 || l.LastStable(l.End()) != undecided-1 {
			t.Errorf("%s: aborted %+v, last stable %d, %v", when, aborted, l.LastStable(l.End()), err)
		}
		l = open(t, dir, cfg)
	}
}

// Readers beside compactions, with fewer open files than segments, see whole batches in
// order, and every record that must be there.
func TestReadersBesideClean(t *testing.T) {
	cfg := smallConfig()
	l := open(t, t.TempDir(), cfg, WithFiles(filecache.New(4)))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				next := l.Start()
				for end := l.End(); next < end && !t.Failed(); {
					span, err := l.Span(next, end, 700, true)
					if err != nil {
						t.Errorf("span at %d: %v", next, err)
						return
					}
					b := make([]byte, span.Size())
					if _, err := span.ReadAt(b, 0); err != nil {
						t.Errorf("read at %d: %v", next, err)
					}
					span.Release()
					for batch, err := range record.Split(b) {
						if err != nil || !batch.CheckCRC() || batch.LastOffset() < next {
							t.Errorf("at %d: batch %d to %d, %v", next, batch.BaseOffset(), batch.LastOffset(), err)
							return
						}
						next = batch.LastOffset() + 1
					}
				}
			}
		})
	}
	for i := range 250 {
		mustAppend(t, l, 0, keyed(fmt.Sprint(i), fmt.Sprint(i%7), fmt.Sprint(i%5)))
		if i%50 == 49 {
			mustClean(t, l, everything(l))
		}
	}
	stop.Store(true)
	wg.Wait()
	latest := map[string]string{}
	for _, kv := range contents(t, l) {
		key, _, _ := strings.Cut(kv, "=")
		latest[key] = kv
	}
	if len(latest) != 7 {
		t.Errorf("keys: %v", latest)
	}
}

// Without room on the disk for the new segment the log stays as it is, and usable.
func TestCleanWithoutSpace(t *testing.T) {
	fsys := disktest.New()
	l, err := Open("/t", smallConfig(), slog.New(slog.DiscardHandler), WithFS(fsys))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		mustAppend(t, l, 0, keyed("v", "a", fmt.Sprint(i)))
	}
	want := contents(t, l)
	fsys.Fail = func(op, name string) error {
		if op == "write" && strings.HasSuffix(name, cleanedSuffix) {
			return syscall.ENOSPC
		}
		return nil
	}
	if _, err := l.Clean(t.Context(), everything(l)); !errors.Is(err, syscall.ENOSPC) || l.Err() != nil {
		t.Fatalf("got %v, log %v", err, l.Err())
	}
	if got := contents(t, l); len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	names, _ := fsys.ReadDir("/t")
	for _, name := range names {
		if strings.HasSuffix(name, cleanedSuffix) {
			t.Errorf("left behind: %s", name)
		}
	}
	fsys.Fail = nil
	if stats := mustClean(t, l, everything(l)); stats.Segments == 0 {
		t.Error("nothing was compacted afterwards")
	}
}

// Close does not wait for a compaction that is slowed down.
func TestCloseInterruptsClean(t *testing.T) {
	l := open(t, t.TempDir(), DefaultConfig())
	for i := range 3 {
		mustAppend(t, l, 0, keyed(strings.Repeat("v", throttleBytes+i), "a"))
		l.mu.Lock()
		err := l.roll()
		l.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	waiting, done := make(chan struct{}, 100), make(chan error)
	p := everything(l)
	p.Throttle = func(ctx context.Context, _ int) error {
		waiting <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	go func() {
		_, err := l.Clean(t.Context(), p)
		done <- err
	}()
	<-waiting
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Base offsets are in no CRC. One that is damaged in a log that was closed cleanly is
// refused, and does not make the next roll fail.
func TestDamagedBaseOffsetIsRefused(t *testing.T) {
	dir := t.TempDir()
	cfg := DefaultConfig()
	l := open(t, dir, cfg)
	for range 3 {
		mustAppend(t, l, 0, batchOf(1, "r", 1))
	}
	name := l.view.Load().active().name
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	middle := record.Batch(b[len(b)/3:])
	middle.SetBaseOffset(1 << 40)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, cfg, slog.New(slog.DiscardHandler))
	if _, ok := errors.AsType[*CorruptError](err); !ok {
		t.Errorf("got %v", err)
	}
}

// A gap is only taken from a leader, and known to recovery before it is in a file.
func TestFollowerTakesGaps(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, smallConfig())
	at := func(offset int64) record.Batch {
		b := keyed("v", "a")
		b.SetBaseOffset(offset)
		b.SetLeaderEpoch(0)
		return b
	}
	for _, offset := range []int64{0, 1, 7} {
		if _, err := l.AppendAsFollower(at(offset)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.AppendAsFollower(at(7)); !errors.Is(err, ErrNotContiguous) {
		t.Errorf("the same again: %v", err)
	}
	mustSync(t, l)
	l = open(t, dir, smallConfig()) // not closed
	if got := contents(t, l); len(got) != 3 || l.End() != 8 {
		t.Errorf("%v, end %d", got, l.End())
	}
	if err := l.Truncate(5); err != nil || l.End() != 2 {
		t.Errorf("truncated within the gap: end %d, %v", l.End(), err)
	}
	mustAppend(t, l, 1, keyed("v", "b"))
	if got := contents(t, l); got[2] != "b=v" || len(got) != 3 {
		t.Errorf("left %v", got)
	}
}
