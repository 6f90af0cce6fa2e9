package filecache

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/quorate/quorate/core/wal/disk"
)

// File is a file that is open when it is used. It implements [disk.File]; its name
// must stay the same file's until Close, or as long as nothing uses it.
type File struct {
	cache *Cache
	fsys  disk.FS
	name  string
	flag  int // for who writes

	handle atomic.Pointer[Handle] // nil while it is closed
	used   atomic.Bool            // since the clock's hand passed
	dirty  atomic.Bool            // written since the last sync that began after it
	failed atomic.Pointer[error]  // of the sync before closing

	mu     sync.Mutex // opening and closing
	closed bool
	slot   int // in Cache.open; of Cache.mu
}

// Handle is an open file that stays open until Release.
type Handle struct {
	disk.File
	holders atomic.Int64 // who uses it, and the File; closed when nobody is left
}

// Lazy returns a file that is opened at its first use, for reading and writing.
func (c *Cache) Lazy(fsys disk.FS, name string) *File {
	return &File{cache: c, fsys: fsys, name: name, flag: os.O_RDWR}
}

// LazyCreate is Lazy of a file that need not be there: writing, truncating or syncing
// it makes it, reading does not.
func (c *Cache) LazyCreate(fsys disk.FS, name string) *File {
	return &File{cache: c, fsys: fsys, name: name, flag: os.O_RDWR | os.O_CREATE}
}

// Name is the name that the file was given.
func (f *File) Name() string { return f.name }

// Dirty tells if the file was changed since the last sync that succeeded.
func (f *File) Dirty() bool { return f.dirty.Load() }

// Create makes the file, which must not be there yet nor have been used.
func (f *File) Create() error {
	h, err := f.open(os.O_RDWR | os.O_CREATE | os.O_EXCL)
	if err != nil {
		return err
	}
	return h.Release()
}

// Hold opens the file if it is not, and keeps it open until the handle is released,
// also beyond Close. The error is [fs.ErrClosed] after Close.
func (f *File) Hold() (*Handle, error) { return f.hold(os.O_RDWR) }

func (f *File) hold(flag int) (*Handle, error) {
	if h := f.handle.Load(); h != nil && h.hold() {
		if !f.used.Load() { // else the line stays in every core's cache
			f.used.Store(true)
		}
		return h, nil
	}
	return f.open(flag)
}

// open returns a handle of a file that was not open a moment ago.
func (f *File) open(flag int) (*Handle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, &fs.PathError{Op: "open", Path: f.name, Err: fs.ErrClosed}
	}
	if h := f.handle.Load(); h != nil && h.hold() {
		return h, nil
	}
	file, err := f.cache.openFile(f.fsys, f.name, flag)
	if err != nil {
		return nil, err
	}
	h := &Handle{File: file}
	h.holders.Store(2) // the caller, and f
	f.used.Store(true)
	f.handle.Store(h)
	f.cache.add(f)
	return h, nil
}

// hold adds a holder; false if it is being closed.
func (h *Handle) hold() bool {
	for {
		n := h.holders.Load()
		if n == 0 {
			return false
		}
		if h.holders.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives up a hold. The last one closes the file, if that was closed meanwhile.
func (h *Handle) Release() error {
	if h.holders.Add(-1) > 0 {
		return nil
	}
	return h.Close()
}

// evict closes the file unless it is held or has an owner that just opens or closes it;
// one with unsynced writes only with dirty, and only after a sync. It tells if it did.
func (f *File) evict(dirty bool) bool {
	if !f.mu.TryLock() { // never wait here: the caller may hold another file's
		return false
	}
	defer f.mu.Unlock()
	h := f.handle.Load()
	if h == nil || !h.holders.CompareAndSwap(1, 0) {
		return false
	}
	// From here on nobody uses the file: who wants to waits for mu.
	if f.dirty.Load() {
		if !dirty || !f.syncForGood(h) {
			h.holders.Store(1)
			return false
		}
	}
	f.handle.Store(nil)
	f.cache.remove(f)
	f.cache.evictions.Add(1)
	if err := h.Close(); err != nil {
		f.fail(err) // what it says of writes nobody can know: none is trusted
	}
	return true
}

// syncForGood makes durable what was written; if it cannot, the file has failed.
func (f *File) syncForGood(h *Handle) bool {
	f.cache.syncs.Add(1)
	if err := h.Sync(); err != nil {
		f.fail(err)
		return false
	}
	f.dirty.Store(false)
	return true
}

func (f *File) fail(err error) { f.failed.CompareAndSwap(nil, &err) }

// Close closes the file, once nobody holds it any more. What was written need not be
// durable. The second time it does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	h := f.handle.Swap(nil)
	if h == nil {
		return nil
	}
	f.cache.remove(f)
	return h.Release()
}

// holdToChange is Hold for who writes.
func (f *File) holdToChange() (*Handle, error) {
	if failed := f.failed.Load(); failed != nil {
		return nil, *failed
	}
	return f.hold(f.flag)
}

// changed gives the hold back after a write that ended with err.
func (f *File) changed(h *Handle, err error) error {
	if !f.dirty.Load() {
		f.dirty.Store(true) // after the write: a sync that began before it does not count
	}
	return errors.Join(err, h.Release())
}
