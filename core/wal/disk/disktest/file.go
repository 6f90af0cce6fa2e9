package disktest

import (
	"io"
	"io/fs"
	"slices"
)

// file is an open file of a FS.
type file struct {
	fs     *FS
	name   string
	node   *inode
	closed bool
}

func (f *file) check() error {
	if f.closed {
		return fs.ErrClosed
	}
	return nil
}

func (f *file) ReadAt(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check(); err != nil {
		return 0, err
	}
	if at >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check(); err != nil {
		return 0, err
	}
	if err := f.fs.step("write", f.name); err != nil {
		return 0, err
	}
	if grow := at + int64(len(p)) - int64(len(f.node.data)); grow > 0 {
		f.node.data = append(f.node.data, make([]byte, grow)...)
	}
	copy(f.node.data[at:], p)
	f.touch(at, at+int64(len(p)))
	return len(p), nil
}

// WritevAt implements disk.File: one write.
func (f *file) WritevAt(pieces [][]byte, at int64) (int64, error) {
	n, err := f.WriteAt(slices.Concat(pieces...), at)
	return int64(n), err
}

// touch marks the sectors of a range as not synced.
func (f *file) touch(from, to int64) {
	if f.node.dirty == nil {
		f.node.dirty = map[int64]bool{}
	}
	for s := from / sector; s*sector < to; s++ {
		f.node.dirty[s] = true
	}
}

func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.data)), f.check()
}

func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	if err := f.fs.step("truncate", f.name); err != nil {
		return err
	}
	f.touch(min(size, int64(len(f.node.data))), max(size, int64(len(f.node.data))))
	if size <= int64(len(f.node.data)) {
		f.node.data = f.node.data[:size:size]
	} else {
		f.node.data = append(f.node.data, make([]byte, size-int64(len(f.node.data)))...)
	}
	return nil
}

func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	if err := f.fs.step("sync", f.name); err != nil {
		return err
	}
	f.fs.Syncs++
	f.node.sync()
	return nil
}

// sync makes the content what a crash leaves.
func (n *inode) sync() {
	if len(n.durable) != len(n.data) {
		n.durable, n.dirty = slices.Clone(n.data), nil
		return
	}
	for s := range n.dirty {
		at := s * sector
		if at < int64(len(n.data)) {
			copy(n.durable[at:], n.data[at:min(at+sector, int64(len(n.data)))])
		}
	}
	n.dirty = nil
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	f.closed = true
	return nil
}

// StartWrite does nothing: what is not synced may be on the disk at any time.
func (f *file) StartWrite(_, _ int64) error { return nil }
