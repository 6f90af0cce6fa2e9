package wal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/core/wal/ring"
	"github.com/quorate/quorate/protocol/record"
)

// committed is logs that share a commit log.
type committed struct {
	c    *Committer
	logs []*Log
}

// openCommitted opens n logs below /data.
func openCommitted(t testing.TB, fsys FS, n int, change func(*CommitConfig), opts ...Option) *committed {
	t.Helper()
	w, err := tryCommitted(fsys, n, change, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func tryCommitted(fsys FS, n int, change func(*CommitConfig), opts ...Option) (*committed, error) {
	cfg := DefaultCommitConfig()
	cfg.Dir, cfg.SegmentBytes, cfg.SizeBytes = "/data/wal", 64<<10, 256<<10
	if change != nil {
		change(&cfg)
	}
	dir := func(partition int32) string { return fmt.Sprintf("/data/t-%d", partition) }
	c, err := OpenCommitter(cfg, func(o Owner) (string, bool) { return dir(o.Partition), true }, slog.New(slog.DiscardHandler), WithCommitFS(fsys))
	if err != nil {
		return nil, err
	}
	w := &committed{c: c}
	for i := range int32(n) {
		l, err := Open(dir(i), DefaultConfig(), slog.New(slog.DiscardHandler), append(opts, WithFS(fsys), WithTopicID([16]byte{1}), WithCommitter(c, i))...)
		if err != nil {
			return nil, errors.Join(err, w.close())
		}
		w.logs = append(w.logs, l)
	}
	return w, nil
}

func (w *committed) close() (err error) {
	for _, l := range w.logs {
		err = errors.Join(err, l.Close())
	}
	return errors.Join(err, w.c.Close())
}

func (w *committed) queued() int64 {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.c.queued
}

// gateFS holds syncs of the commit log back until the gate is open, or fails them.
type gateFS struct {
	*disktest.FS
	mu    sync.Mutex
	gate  chan struct{}
	err   error
	syncs atomic.Int64 // of the commit log
}

func (f *gateFS) OpenFile(name string, flag int) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag)
	if err != nil || !strings.HasSuffix(name, ".ring") {
		return file, err
	}
	return gateFile{file, f}, nil
}

type gateFile struct {
	File
	fs *gateFS
}

func (f gateFile) Sync() error {
	f.fs.mu.Lock()
	gate, err := f.fs.gate, f.fs.err
	f.fs.syncs.Add(1)
	f.fs.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *gateFS) breakDisk(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *gateFS) hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gate := make(chan struct{})
	f.gate = gate
	return sync.OnceFunc(func() {
		f.mu.Lock()
		f.gate = nil
		f.mu.Unlock()
		close(gate)
	})
}

// TestCommitIsShared stops the disk until appends to many logs wait, and wants one
// more sync to do for all of them.
func TestCommitIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := &gateFS{FS: disktest.New()}
		w := openCommitted(t, fsys, 50, func(c *CommitConfig) { c.SegmentBytes, c.SizeBytes = 1<<20, 4<<20 })
		release := fsys.hold()
		var wg sync.WaitGroup
		for i, l := range w.logs {
			if i == 1 {
				synctest.Wait() // the first one's round is on its way
			}
			end := mustAppend(t, l, 0, batchOf(1, "r", 1)).End
			wg.Go(func() {
				if err := l.Sync(t.Context(), end); err != nil || l.Durable() < end {
					t.Errorf("sync to %d: %v, durable %d", end, err, l.Durable())
				}
			})
		}
		synctest.Wait()
		for _, l := range w.logs {
			if l.Durable() != 0 || l.Safe() != 0 {
				t.Errorf("durable is %d before the disk has it", l.Durable())
			}
		}
		before := fsys.syncs.Load()
		release()
		wg.Wait()
		if got := fsys.syncs.Load() - before; got != 1 {
			t.Errorf("%d syncs for 49 logs, want 1", got)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestSyncModes says what each mode waits for.
func TestSyncModes(t *testing.T) {
	for _, tt := range []struct {
		mode        SyncMode
		safe, after int64 // at once, durable after the interval
	}{{SyncAlways, 0, 1}, {SyncInterval, 1, 1}, {SyncOS, 1, 0}} {
		t.Run(fmt.Sprint(tt.mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fsys := &gateFS{FS: disktest.New()}
				w := openCommitted(t, fsys, 1, nil)
				l := w.logs[0]
				cfg := DefaultConfig()
				cfg.Sync = tt.mode
				if err := l.Reconfigure(cfg); err != nil {
					t.Fatal(err)
				}
				release := fsys.hold()
				mustAppend(t, l, 0, batchOf(1, "r", 1))
				synctest.Wait()
				if got := l.Safe(); got != tt.safe || l.Durable() != 0 {
					t.Errorf("safe is %d and durable %d at once, want %d and 0", got, l.Durable(), tt.safe)
				}
				release()
				<-time.After(time.Second)
				if got := l.Durable(); got != tt.after {
					t.Errorf("durable is %d after a second, want %d", got, tt.after)
				}
				mustAppend(t, l, 0, batchOf(1, "r", 1))
				mustSync(t, l)
				if l.Durable() != 2 {
					t.Errorf("durable is %d after Sync, want 2", l.Durable())
				}
				// To a stricter mode: what is there is durable before anything is framed.
				mustAppend(t, l, 0, batchOf(1, "r", 1))
				if err := l.Reconfigure(DefaultConfig()); err != nil || tt.mode != SyncAlways && l.Durable() != 3 {
					t.Errorf("durable is %d after the mode became stricter: %v", l.Durable(), err)
				}
				if err := w.close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestIntervalIsBoundByBytes wants a round as soon as enough bytes wait.
func TestIntervalIsBoundByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := openCommitted(t, disktest.New(), 1, func(c *CommitConfig) { c.SyncInterval, c.SyncIntervalBytes = time.Hour, 1000 })
		l := w.logs[0]
		cfg := DefaultConfig()
		cfg.Sync = SyncInterval
		if err := l.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		for l.Size() < 900 {
			mustAppend(t, l, 0, batchOf(1, "r", 1))
		}
		synctest.Wait()
		if l.Durable() != 0 {
			t.Errorf("durable is %d with %d bytes", l.Durable(), l.Size())
		}
		for l.Size() < 1100 {
			mustAppend(t, l, 0, batchOf(1, "r", 1))
		}
		synctest.Wait()
		if l.Durable() == 0 {
			t.Errorf("nothing is durable with %d bytes", l.Size())
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAwaitCommitCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := &gateFS{FS: disktest.New()}
		w := openCommitted(t, fsys, 1, nil)
		release := fsys.hold()
		end := mustAppend(t, w.logs[0], 0, batchOf(1, "r", 1)).End
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.logs[0].Sync(ctx, end); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if err := w.logs[0].Sync(t.Context(), end+1); !errors.Is(err, ErrOffsetOutOfRange) {
			t.Errorf("beyond the end: got %v", err)
		}
		release()
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFullQueueHoldsAppendsBack stops the disk and wants appends to wait instead of
// filling the memory; one that is larger than the queue is let in alone.
func TestFullQueueHoldsAppendsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := &gateFS{FS: disktest.New()}
		w := openCommitted(t, fsys, 3, func(c *CommitConfig) { c.QueueBytes = 1000 })
		release := fsys.hold()
		var done atomic.Int64
		var wg sync.WaitGroup
		for _, l := range w.logs {
			wg.Go(func() {
				for range 20 {
					mustAppend(t, l, 0, batchOf(1, "r", 1))
					done.Add(1)
				}
			})
			synctest.Wait()
		}
		if bytes := w.queued(); bytes == 0 || bytes > 1000 || done.Load() >= 60 {
			t.Errorf("%d appends of %d bytes went ahead of a disk that stands", done.Load(), bytes)
		}
		release()
		wg.Wait()
		big := batchOf(1, strings.Repeat("x", 5000), 1)
		mustAppend(t, w.logs[0], 0, big)
		mustSync(t, w.logs[0])
		if n := w.queued(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusedAppendsGiveTheirRoomBack counts what was admitted and never queued.
func TestRefusedAppendsGiveTheirRoomBack(t *testing.T) {
	w := openCommitted(t, disktest.New(), 1, nil)
	l := w.logs[0]
	b := producerBatchOf(1, "r", 7, 0, 0)
	mustAppend(t, l, 0, append([]byte(nil), b...))
	mustAppend(t, l, 0, append([]byte(nil), b...)) // a duplicate
	if _, err := l.AppendAsLeader(0, producerBatchOf(1, "r", 7, 0, 9)); err == nil {
		t.Error("a gap in the sequence was taken")
	}
	mustSync(t, l)
	if n := w.queued(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// TestFailedCommitIsFinal breaks the disk of the commit log: nothing that waited is
// ever acknowledged, of any log, although the disk works again.
func TestFailedCommitIsFinal(t *testing.T) {
	fsys := &gateFS{FS: disktest.New()}
	told := make(chan struct{}, 10)
	w := openCommitted(t, fsys, 2, nil, WithOnDurable(func() { told <- struct{}{} }))
	mustAppend(t, w.logs[0], 0, batchOf(1, "r", 1))
	mustSync(t, w.logs[0])
	broken := errors.New("input/output error")
	fsys.breakDisk(broken)
	end := mustAppend(t, w.logs[0], 0, batchOf(1, "r", 1)).End
	if err := w.logs[0].Sync(t.Context(), end); !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	fsys.breakDisk(nil)
	<-told
	for _, l := range w.logs {
		if _, err := l.AppendAsLeader(0, batchOf(1, "r", 1)); !errors.Is(err, ErrFailed) {
			t.Errorf("append: got %v, want ErrFailed", err)
		}
	}
	if w.logs[0].Durable() != 1 {
		t.Errorf("durable is %d, want 1", w.logs[0].Durable())
	}
	if err := w.close(); !errors.Is(err, ErrFailed) {
		t.Errorf("close: got %v", err)
	}
	// What a start finds is what was acknowledged at least.
	fsys.Kill()
	w = openCommitted(t, fsys, 2, nil)
	if w.logs[0].End() < 1 {
		t.Errorf("end is %d", w.logs[0].End())
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// TestDamagedCommitLogIsRefused flips a bit in a round that another one followed.
func TestDamagedCommitLogIsRefused(t *testing.T) {
	fsys := disktest.New()
	w := openCommitted(t, fsys, 2, nil)
	for range 3 {
		for _, l := range w.logs {
			mustAppend(t, l, 0, batchOf(2, "r", 1))
			mustSync(t, l)
		}
	}
	fsys.Kill()
	flipByte(t, fsys, "/data/wal/0000.ring", 4096+70)
	_, err := tryCommitted(fsys, 2, nil)
	damaged, ok := errors.AsType[*ring.DamageError](err)
	if !ok || damaged.File != "/data/wal/0000.ring" || damaged.Offset != 4096 || !strings.Contains(err.Error(), "--unsafe-truncate") {
		t.Fatalf("got %v", err)
	}
	w = openCommitted(t, fsys, 2, func(c *CommitConfig) { c.UnsafeTruncate = true })
	for _, l := range w.logs {
		if l.End() != 6 { // the page cache had it all
			t.Errorf("end is %d", l.End())
		}
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// TestDamageInAcknowledgedSegmentIsRefused flips a bit of the active segment, where a
// torn write would be. What is in the commit log mends it; what a checkpoint has made
// durable is known to have been there.
func TestDamageInAcknowledgedSegmentIsRefused(t *testing.T) {
	fsys := disktest.New()
	w := openCommitted(t, fsys, 1, nil)
	l := w.logs[0]
	name := l.view.Load().active().name
	for range 3 {
		mustAppend(t, l, 0, batchOf(2, "r", 1))
		mustSync(t, l)
	}
	size := int64(len(batchOf(2, "r", 1)))
	flipByte(t, fsys, name, size+70)
	w = openCommitted(t, fsys, 1, nil)
	if got := offsets(t, w.logs[0]); len(got) != 3 {
		t.Errorf("batches at %v, want 3 of them mended", got)
	}
	// After a checkpoint the frames are gone, and a header that is wrong is damage.
	l = w.logs[0]
	mustAppend(t, l, 0, batchOf(2, "r", 1))
	mustSync(t, l)
	if err := w.c.checkpoint(w.c.ring.Current()); err != nil {
		t.Fatal(err)
	}
	flipByte(t, fsys, name, size+16) // the magic
	_, err := tryCommitted(fsys, 1, nil)
	corrupt, ok := errors.AsType[*CorruptError](err)
	if !ok || corrupt.File != name || corrupt.Offset != size {
		t.Fatalf("got %v", err)
	}
}

func flipByte(t *testing.T, fsys FS, name string, at int64) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	b[0] ^= 1
	_, werr := f.WriteAt(b, at)
	if err := errors.Join(err, werr, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestCommitConcurrently has writers, truncations, retention, checkpoints and readers
// at once on a small ring, then opens what is left.
func TestCommitConcurrently(t *testing.T) {
	fsys := disktest.New()
	w := openCommitted(t, fsys, 4, func(c *CommitConfig) {
		c.SegmentBytes, c.SizeBytes, c.CheckpointInterval, c.QueueBytes = 8<<10, 32<<10, time.Millisecond, 4<<10
	}, WithOnDurable(func() {}))
	var wg sync.WaitGroup
	for i, l := range w.logs {
		for range 3 {
			wg.Go(func() {
				for n := range 150 {
					a, err := l.AppendAsLeader(0, batchOf(2, "r", 1))
					if err != nil {
						t.Errorf("append: %v", err)
						return
					}
					if err := l.Sync(t.Context(), a.End); err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
						t.Errorf("sync: %v", err)
					}
					if i == 3 && n%40 == 39 {
						if err := l.Truncate(l.Durable()); err != nil {
							t.Errorf("truncate: %v", err)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	want := make([]int64, len(w.logs))
	for i, l := range w.logs {
		mustSync(t, l)
		want[i] = l.End()
	}
	if got := w.c.ring.Used(); got > 64<<10 {
		t.Errorf("%d bytes are used of a ring of %d", got, 32<<10)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	w = openCommitted(t, fsys, 4, nil)
	for i, l := range w.logs {
		if l.End() != want[i] || int64(len(offsets(t, l)))*2 != want[i] {
			t.Errorf("log %d ends at %d, want %d", i, l.End(), want[i])
		}
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// TestFailedLogKeepsItsFrames closes a log whose own disk failed: its frames must be
// there for the next start, as its files were never synced.
func TestFailedLogKeepsItsFrames(t *testing.T) {
	fsys := disktest.New()
	w := openCommitted(t, fsys, 2, nil)
	for _, l := range w.logs {
		mustAppend(t, l, 0, batchOf(2, "r", 1))
		mustSync(t, l)
	}
	if err := w.logs[0].fail("append", errors.New("input/output error")); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := w.close(); !errors.Is(err, ErrFailed) {
		t.Errorf("close: got %v, want ErrFailed", err)
	}
	fsys.Crash(rand.New(rand.NewPCG(1, 1)))
	w = openCommitted(t, fsys, 2, nil)
	for i, l := range w.logs {
		if l.End() != 2 || len(offsets(t, l)) != 1 {
			t.Errorf("log %d ends at %d, want 2", i, l.End())
		}
	}
	if err := w.close(); err != nil {
		t.Error(err)
	}
}

// TestIndexBeforeThePointIsKept cuts the power after a checkpoint of a log with more
// index entries than stay in memory: those in the file are used again, and right.
func TestIndexBeforeThePointIsKept(t *testing.T) {
	for seed := range uint64(20) {
		fsys := disktest.New()
		w := openCommitted(t, fsys, 1, nil)
		l := w.logs[0]
		cfg := DefaultConfig()
		cfg.IndexIntervalBytes = 1
		if err := l.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		for n := range 700 {
			mustAppend(t, l, 0, batchOf(2, "r", int64(n)))
		}
		mustSync(t, l)
		if err := w.c.checkpoint(w.c.ring.Current()); err != nil {
			t.Fatal(err)
		}
		for n := range 10 {
			mustAppend(t, l, 0, batchOf(2, "r", int64(700+n)))
		}
		mustSync(t, l)
		fsys.Crash(rand.New(rand.NewPCG(seed, 3)))
		w = openCommitted(t, fsys, 1, nil)
		l = w.logs[0]
		active := l.view.Load().active()
		if p := l.point; p.offsets != tailEntries || p.times != tailEntries || p.position == 0 || l.End() != 1420 {
			t.Fatalf("seed %d: recovery began at %+v, the log ends at %d", seed, p, l.End())
		}
		if n := active.offsets.count(); n < tailEntries {
			t.Errorf("seed %d: %d index entries", seed, n)
		}
		for at := int64(1); at < l.End(); at += 37 {
			b, err := l.Read(at, l.End(), 1, true)
			if err != nil || len(b) == 0 || record.Batch(b).BaseOffset() != at&^1 {
				t.Fatalf("seed %d: read at %d: %d bytes, %v", seed, at, len(b), err)
			}
			if offset, _, _, found, err := l.OffsetForTime(at / 2); err != nil || !found || offset != at&^1 {
				t.Fatalf("seed %d: time %d is found at %d, %v, %v", seed, at/2, offset, found, err)
			}
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
}
