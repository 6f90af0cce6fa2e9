package wal

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
)

// rangesFS remembers what it was told to begin to write, by file.
type rangesFS struct {
	*disktest.FS
	mu     sync.Mutex
	ranges map[string][][2]int64 // from, to
	err    error
}

type rangesFile struct {
	File
	fs   *rangesFS
	name string
}

func (f *rangesFS) OpenFile(name string, flag int) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	return rangesFile{file, f, name}, nil
}

func (f rangesFile) StartWrite(off, n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.ranges[f.name] = append(f.fs.ranges[f.name], [2]int64{off, off + n})
	return f.fs.err
}

func (f *rangesFS) of(name string) [][2]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ranges[name])
}

// TestWriteBack lets one log grow much and another one little: the disk is told of each
// byte of the first once, in its order, but for an end that is to be written again.
func TestWriteBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := &rangesFS{FS: disktest.New(), ranges: map[string][][2]int64{}}
		w := openCommitted(t, fsys, 2, func(c *CommitConfig) { c.SegmentBytes, c.SizeBytes = 4<<20, 64<<20 })
		mustAppend(t, w.logs[1], 0, batchOf(1, "r", 1))
		grow(t, w.logs[0], 4*writeBackStep)
		big, small := w.logs[0].view.Load().active(), w.logs[1].view.Load().active()
		got, at := fsys.of(big.name), int64(0)
		for _, r := range got {
			if r[0] != at || r[1]-r[0] < writeBackBytes || r[1]%writeBackAlign != 0 || r[1] > big.size.Load() {
				t.Fatalf("told to write %v behind %d of %d", r, at, big.size.Load())
			}
			at = r[1]
		}
		if left := big.size.Load() - at; len(got) < 3 || left > writeBackStep+writeBackBytes {
			t.Errorf("%d of %d bytes are left to a checkpoint, after %d ranges", left, big.size.Load(), len(got))
		}
		if got := fsys.of(small.name); got != nil {
			t.Errorf("told to write %v of a log with one record", got)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestWriteBackIsNotNeeded has a system without the call: it is not asked again, and
// nothing else is different.
func TestWriteBackIsNotNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := &rangesFS{FS: disktest.New(), ranges: map[string][][2]int64{}, err: errors.ErrUnsupported}
		w := openCommitted(t, fsys, 1, func(c *CommitConfig) { c.SegmentBytes, c.SizeBytes = 4<<20, 64<<20 })
		grow(t, w.logs[0], 4*writeBackStep)
		if got := fsys.of(w.logs[0].view.Load().active().name); len(got) != 1 {
			t.Errorf("asked %d times, want once", len(got))
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
}

// grow appends about n bytes, and waits until each batch is durable and nobody has
// anything left to do.
func grow(t *testing.T, l *Log, n int64) {
	t.Helper()
	value := strings.Repeat("v", 100<<10)
	for l.Size() < n {
		mustAppend(t, l, 0, batchOf(1, value, 1))
		mustSync(t, l)
		synctest.Wait()
	}
}
