package wal

import (
	"io"
	"io/fs"
	"slices"
)

// memFile is an open file of a memFS.
type memFile struct {
	fs     *memFS
	name   string
	node   *memInode
	closed bool
}

func (f *memFile) check() error {
	if f.closed {
		return fs.ErrClosed
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, at int64) (int, error) {
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

func (f *memFile) WriteAt(p []byte, at int64) (int, error) {
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

// touch marks the sectors of a range as not synced.
func (f *memFile) touch(from, to int64) {
	if f.node.dirty == nil {
		f.node.dirty = map[int64]bool{}
	}
	for s := from / sector; s*sector < to; s++ {
		f.node.dirty[s] = true
	}
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.data)), f.check()
}

func (f *memFile) Truncate(size int64) error {
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

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	if err := f.fs.step("sync", f.name); err != nil {
		return err
	}
	f.fs.syncs++
	f.node.durable, f.node.dirty = slices.Clone(f.node.data), nil
	return nil
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.check(); err != nil {
		return err
	}
	f.closed = true
	return nil
}
