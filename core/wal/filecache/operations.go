package filecache

import (
	"errors"
)

// ReadAt implements [disk.File]. A file that is not there is not made.
func (f *File) ReadAt(p []byte, at int64) (int, error) {
	h, err := f.Hold()
	if err != nil {
		return 0, err
	}
	n, err := h.ReadAt(p, at)
	if rerr := h.Release(); err == nil {
		err = rerr
	}
	return n, err
}

// Size implements [disk.File].
func (f *File) Size() (int64, error) {
	h, err := f.Hold()
	if err != nil {
		return 0, err
	}
	size, err := h.Size()
	return size, errors.Join(err, h.Release())
}

// WriteAt implements [disk.File].
func (f *File) WriteAt(p []byte, at int64) (int, error) {
	h, err := f.holdToChange()
	if err != nil {
		return 0, err
	}
	n, err := h.WriteAt(p, at)
	return n, f.changed(h, err)
}

// WritevAt implements [disk.File].
func (f *File) WritevAt(pieces [][]byte, at int64) (int64, error) {
	h, err := f.holdToChange()
	if err != nil {
		return 0, err
	}
	n, err := h.WritevAt(pieces, at)
	return n, f.changed(h, err)
}

// Truncate implements [disk.File].
func (f *File) Truncate(size int64) error {
	h, err := f.holdToChange()
	if err != nil {
		return err
	}
	return f.changed(h, h.Truncate(size))
}

// Sync implements [disk.File]. It makes durable also what another process wrote. One
// that fails is final.
func (f *File) Sync() error {
	h, err := f.holdToChange()
	if err != nil {
		return err
	}
	f.dirty.Store(false) // before the sync: a write that it misses comes after
	if err = h.Sync(); err != nil {
		f.dirty.Store(true)
		f.fail(err)
	}
	return errors.Join(err, h.Release())
}

// StartWrite implements [disk.File]. A file that is closed was synced before, if there
// was anything to write.
func (f *File) StartWrite(off, n int64) error {
	h := f.handle.Load()
	if h == nil || !h.hold() {
		return nil
	}
	return errors.Join(h.StartWrite(off, n), h.Release())
}
