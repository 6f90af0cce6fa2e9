package filecache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/filecache"
)

// watchedFS is the real file system that counts what is open, and complains about what
// would lose a write unseen.
type watchedFS struct {
	disk.OS
	t        *testing.T
	open     atomic.Int64
	most     atomic.Int64
	failSync atomic.Bool
	noMore   atomic.Int64 // how many files are refused for want of descriptors
}

type watchedFile struct {
	disk.File
	fs    *watchedFS
	dirty atomic.Bool
}

var errDisk = errors.New("the disk says no")

func (w *watchedFS) OpenFile(name string, flag int) (disk.File, error) {
	if w.noMore.Load() > 0 {
		w.noMore.Add(-1)
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	f, err := w.OS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	n := w.open.Add(1)
	for m := w.most.Load(); n > m && !w.most.CompareAndSwap(m, n); m = w.most.Load() {
	}
	return &watchedFile{File: f, fs: w}, nil
}

func (f *watchedFile) WriteAt(p []byte, at int64) (int, error) {
	f.dirty.Store(true)
	return f.File.WriteAt(p, at)
}

func (f *watchedFile) Sync() error {
	if f.fs.failSync.Load() {
		return errDisk
	}
	f.dirty.Store(false)
	return f.File.Sync()
}

func (f *watchedFile) Close() error {
	f.fs.open.Add(-1)
	if f.dirty.Load() {
		f.fs.t.Error("a file with unsynced writes was closed")
	}
	return f.File.Close()
}

func TestFewFilesAreOpen(t *testing.T) {
	w := &watchedFS{t: t}
	dir := t.TempDir()
	const limit = 4
	c := filecache.New(limit)
	var files []*filecache.File
	for i := range 40 {
		f := c.Lazy(w, filepath.Join(dir, fmt.Sprint(i)))
		if err := f.Create(); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for round := range 3 {
		for i, f := range files {
			if _, err := f.WriteAt([]byte{byte(i), byte(round)}, int64(2*round)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, f := range files {
		got := make([]byte, 6)
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, []byte{byte(i), 0, byte(i), 1, byte(i), 2}) {
			t.Errorf("file %d: %v, %v", i, got, err)
		}
	}
	if most := w.most.Load(); most > limit+1 {
		t.Errorf("%d files were open at a time, the limit is %d", most, limit)
	}
	if s := c.Stats(); s.Open > limit || s.Syncs == 0 || s.Evictions < 100 {
		t.Errorf("stats %+v", s)
	}
	for _, f := range files {
		if err := errors.Join(f.Sync(), f.Close(), f.Close()); err != nil {
			t.Error(err)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	}
	if n := w.open.Load(); n != 0 {
		t.Errorf("%d files are left open", n)
	}
}

func TestHeldFilesStayOpen(t *testing.T) {
	w := &watchedFS{t: t}
	dir := t.TempDir()
	c := filecache.New(1)
	held := c.LazyCreate(w, filepath.Join(dir, "held"))
	if _, err := held.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := held.Sync(); err != nil {
		t.Fatal(err)
	}
	h, err := held.Hold()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		other := c.LazyCreate(w, filepath.Join(dir, fmt.Sprint(i)))
		if err := other.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	// The name may be another file's by now: who holds has the old one.
	if err := errors.Join(held.Close(), os.Remove(held.Name())); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	if _, err := h.ReadAt(got, 0); err != nil || got[0] != 'x' {
		t.Errorf("got %q, %v", got, err)
	}
	if err := h.Release(); err != nil {
		t.Error(err)
	}
	if _, err := h.ReadAt(got, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read after the last release: %v", err)
	}
}

// A write whose sync fails while the file makes room must not be forgotten.
func TestFailedSyncIsRemembered(t *testing.T) {
	w := &watchedFS{t: t}
	dir := t.TempDir()
	c := filecache.New(1)
	f := c.LazyCreate(w, filepath.Join(dir, "f"))
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	w.failSync.Store(true)
	if err := c.LazyCreate(w, filepath.Join(dir, "other")).Truncate(0); err != nil {
		t.Fatal(err) // the other file is none the worse
	}
	w.failSync.Store(false)
	if err := f.Sync(); !errors.Is(err, errDisk) {
		t.Errorf("sync after a failed one: %v", err)
	}
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, errDisk) {
		t.Errorf("write after a failed sync: %v", err)
	}
	if n := w.open.Load(); n != 2 {
		t.Errorf("%d files are open; the failed one stays", n)
	}
}

func TestNoDescriptorLeft(t *testing.T) {
	w := &watchedFS{t: t}
	dir := t.TempDir()
	c := filecache.New(100)
	for i := range 10 {
		if err := c.Lazy(w, filepath.Join(dir, fmt.Sprint(i))).Create(); err != nil {
			t.Fatal(err)
		}
	}
	w.noMore.Store(2)
	if err := c.Lazy(w, filepath.Join(dir, "more")).Create(); err != nil {
		t.Error(err)
	}
	if n := w.open.Load(); n != 1 {
		t.Errorf("%d files are open, want the new one", n)
	}
}

func TestReadingMakesNoFile(t *testing.T) {
	f := filecache.New(1).LazyCreate(disk.OS{}, filepath.Join(t.TempDir(), "f"))
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read: %v", err)
	}
	if _, err := f.Size(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("size: %v", err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if size, err := f.Size(); err != nil || size != 0 {
		t.Errorf("size %d, %v", size, err)
	}
}

// Many use few descriptors at once. Each writer owns its files; readers see what was
// written, and no file is ever closed under anybody's hands.
func TestConcurrentUse(t *testing.T) {
	w := &watchedFS{t: t}
	dir := t.TempDir()
	c := filecache.New(3)
	const writers, each = 4, 8
	var files [writers][each]*filecache.File
	var written [writers][each]atomic.Int64
	for i := range files {
		for j := range files[i] {
			files[i][j] = c.LazyCreate(w, filepath.Join(dir, fmt.Sprintf("%d-%d", i, j)))
		}
	}
	var wg sync.WaitGroup
	for i := range files {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			for range 400 {
				j := rnd.IntN(each)
				n := written[i][j].Load()
				if _, err := files[i][j].WriteAt([]byte{byte(n)}, n); err != nil {
					t.Error(err)
					return
				}
				written[i][j].Store(n + 1)
				if rnd.IntN(4) == 0 {
					if err := files[i][j].Sync(); err != nil {
						t.Error(err)
					}
				}
				// Another's file.
				f, n := files[(i+1)%writers][j], written[(i+1)%writers][j].Load()
				if n == 0 {
					continue
				}
				h, err := f.Hold()
				if err != nil {
					t.Error(err)
					return
				}
				got := make([]byte, 1)
				if _, err := h.ReadAt(got, n-1); err != nil || got[0] != byte(n-1) {
					t.Errorf("read %v, %v", got, err)
				}
				if err := h.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range files {
		for j := range files[i] {
			if err := errors.Join(files[i][j].Sync(), files[i][j].Close()); err != nil {
				t.Error(err)
			}
		}
	}
	if n := w.open.Load(); n != 0 {
		t.Errorf("%d files are left open", n)
	}
}
