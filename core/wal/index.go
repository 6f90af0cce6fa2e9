package wal

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/quorate/quorate/core/wal/filecache"
)

// Entry sizes in bytes. Both kinds begin with what they are searched by.
const (
	offsetEntrySize = 8  // relative offset uint32, position uint32
	timeEntrySize   = 12 // timestamp int64, relative offset uint32
)

// tailEntries is how many entries an index keeps in memory before they go to the
// file, in one write.
const tailEntries = 512

// index is a sparse index of a segment: sorted entries of a fixed size, the older
// ones in the file, the newer ones in memory. One writer (the log's mutex);
// readers lock nothing.
type index struct {
	file  *filecache.File // need not be there until something is written
	width int
	tail  atomic.Pointer[indexTail]
	// synced is how many entries are on stable storage, at least.
	synced atomic.Int64
}

// indexTail is the end of an index. Its buffer never moves: entries behind n are
// the writer's, those before it everybody's.
type indexTail struct {
	flushed int // entries in the file, before those of the tail
	buf     []byte
	n       atomic.Int32
}

func newIndex(file *filecache.File, width, flushed int) *index {
	x := &index{file: file, width: width}
	x.tail.Store(&indexTail{flushed: flushed})
	return x
}

// count is how many entries there are.
func (x *index) count() int {
	t := x.tail.Load()
	return t.flushed + int(t.n.Load())
}

// append adds an entry, which must not be smaller than the last.
func (x *index) append(entry []byte) error {
	t := x.tail.Load()
	n := int(t.n.Load())
	if (n+1)*x.width > len(t.buf) {
		if n >= tailEntries {
			if err := x.flush(); err != nil {
				return err
			}
			n = 0
		}
		t = x.grow(n)
	}
	copy(t.buf[n*x.width:], entry)
	t.n.Store(int32(n + 1))
	return nil
}

// grow publishes a tail with room for more than its n entries.
func (x *index) grow(n int) *indexTail {
	old := x.tail.Load()
	t := &indexTail{flushed: old.flushed, buf: make([]byte, min(max(8, 2*n), tailEntries)*x.width)}
	copy(t.buf, old.buf[:n*x.width])
	t.n.Store(int32(n))
	x.tail.Store(t)
	return t
}

// flush writes the tail to the file.
func (x *index) flush() error {
	t := x.tail.Load()
	n := int(t.n.Load())
	if n == 0 {
		return nil
	}
	if _, err := x.file.WriteAt(t.buf[:n*x.width], int64(t.flushed*x.width)); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	x.tail.Store(&indexTail{flushed: t.flushed + n})
	return nil
}

// create makes the file if there is none. An empty one is as good as none if it is lost.
func (x *index) create() error {
	_, err := x.file.Size()
	if isNotExist(err) {
		return x.file.Create()
	}
	return err
}

// sync makes what was flushed durable, and the file if there is none.
func (x *index) sync() error { return x.file.Sync() }

// syncDirty is sync, if this process has changed the file since the last one.
func (x *index) syncDirty() error {
	if !x.file.Dirty() {
		return nil
	}
	return x.sync()
}

// size is how large the file is, in bytes; 0 if there is none.
func (x *index) size() (int64, error) {
	size, err := x.file.Size()
	if isNotExist(err) {
		return 0, nil
	}
	return size, err
}

// syncFlushed makes the entries in the file durable, if there are new ones.
func (x *index) syncFlushed() error {
	n := int64(x.tail.Load().flushed)
	if n <= x.synced.Load() {
		return nil
	}
	if err := x.sync(); err != nil {
		return err
	}
	x.synced.Store(n)
	return nil
}

// rewrite empties the file; entries that were appended before are forgotten.
func (x *index) rewrite() error {
	x.tail.Store(&indexTail{})
	x.synced.Store(0)
	return x.file.Truncate(0)
}

// truncated returns an index of the first n entries. It shares nothing that
// changes with x but the file, which the caller shortens with cut once nobody new
// can find x.
func (x *index) truncated(n int) *index {
	t := x.tail.Load()
	c := newIndex(x.file, x.width, min(n, t.flushed))
	c.synced.Store(min(int64(n), x.synced.Load()))
	if rest := n - t.flushed; rest > 0 {
		tail := &indexTail{flushed: t.flushed, buf: make([]byte, max(8, rest)*x.width)}
		copy(tail.buf, t.buf[:rest*x.width])
		tail.n.Store(int32(rest))
		c.tail.Store(tail)
	}
	return c
}

// cut shortens the file to the entries that were flushed.
func (x *index) cut() error {
	return x.file.Truncate(int64(x.tail.Load().flushed * x.width))
}

func (x *index) close() error { return x.file.Close() }

// indexEntry is one entry of either kind; the other kind's fields are zero.
type indexEntry struct {
	timestamp int64
	relative  uint32 // offset minus the segment's base
	position  uint32 // bytes
}

func (x *index) decode(b []byte) indexEntry {
	if x.width == timeEntrySize {
		return indexEntry{timestamp: int64(binary.BigEndian.Uint64(b)), relative: binary.BigEndian.Uint32(b[8:])}
	}
	return indexEntry{relative: binary.BigEndian.Uint32(b), position: binary.BigEndian.Uint32(b[4:])}
}

// lastEntry returns the last entry; ok is false if there is none.
func (x *index) lastEntry() (e indexEntry, ok bool, err error) {
	t := x.tail.Load()
	n := t.flushed + int(t.n.Load())
	if n == 0 {
		return e, false, nil
	}
	e, err = x.entry(t, n-1)
	return e, err == nil, err
}

// appendOffset adds an entry to an offset index.
func (x *index) appendOffset(relative, position int64) error {
	if relative < 0 || relative > math.MaxInt32 || position < 0 || position > math.MaxInt32 {
		return fmt.Errorf("offset %d or position %d does not fit into an index", relative, position)
	}
	var e [offsetEntrySize]byte
	binary.BigEndian.PutUint32(e[:], uint32(relative))
	binary.BigEndian.PutUint32(e[4:], uint32(position))
	return x.append(e[:])
}

// appendTime adds an entry to a time index.
func (x *index) appendTime(timestamp, relative int64) error {
	if relative < 0 || relative > math.MaxInt32 {
		return fmt.Errorf("offset %d does not fit into an index", relative)
	}
	var e [timeEntrySize]byte
	binary.BigEndian.PutUint64(e[:], uint64(timestamp))
	binary.BigEndian.PutUint32(e[8:], uint32(relative))
	return x.append(e[:])
}
