package wal

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
)

// pageEntries is how many entries of the file are read at once, at the end of a
// search that narrowed it down so far.
const pageEntries = 512

var pages = sync.Pool{New: func() any { return new([pageEntries * timeEntrySize]byte) }}

// read reads n entries of the file from the i-th on into b.
func (x *index) read(b []byte, i, n int) ([]byte, error) {
	b = b[:n*x.width]
	if m, err := x.file.ReadAt(b, int64(i*x.width)); m < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read index %s: %w", x.file.Name(), err)
	}
	return b, nil
}

// entry returns the i-th entry as t, a tail of x, has it.
func (x *index) entry(t *indexTail, i int) (indexEntry, error) {
	if i >= t.flushed {
		return x.decode(t.buf[(i-t.flushed)*x.width:]), nil
	}
	page := pages.Get().(*[pageEntries * timeEntrySize]byte) //nolint:errcheck // the pool holds nothing else
	defer pages.Put(page)
	b, err := x.read(page[:], i, 1)
	if err != nil {
		return indexEntry{}, err
	}
	return x.decode(b), nil
}

// search returns how many entries come before the first one for which after is
// true, and the last of those, zero if there is none.
func (x *index) search(after func(indexEntry) bool) (n int, before indexEntry, err error) {
	t := x.tail.Load()
	if inTail := int(t.n.Load()); inTail > 0 && (t.flushed == 0 || !after(x.decode(t.buf))) {
		n, before = x.searchBytes(t.buf[:inTail*x.width], after)
		return t.flushed + n, before, nil
	}
	page := pages.Get().(*[pageEntries * timeEntrySize]byte) //nolint:errcheck // the pool holds nothing else
	defer pages.Put(page)
	lo, hi := 0, t.flushed // the answer is between them
	for hi-lo > pageEntries {
		mid := (lo + hi) / 2
		b, err := x.read(page[:], mid, 1)
		if err != nil {
			return 0, before, err
		}
		if after(x.decode(b)) {
			hi = mid
		} else {
			lo = mid
		}
	}
	if hi == lo {
		return lo, before, nil
	}
	b, err := x.read(page[:], lo, hi-lo)
	if err != nil {
		return 0, before, err
	}
	n, before = x.searchBytes(b, after)
	return lo + n, before, nil
}

// searchBytes is search in entries that are in memory.
func (x *index) searchBytes(b []byte, after func(indexEntry) bool) (n int, before indexEntry) {
	n = sort.Search(len(b)/x.width, func(i int) bool { return after(x.decode(b[i*x.width:])) })
	if n > 0 {
		before = x.decode(b[(n-1)*x.width:])
	}
	return n, before
}

// last returns the last entry before the first one for which after is true; zero,
// which is the segment's beginning, if there is none.
func (x *index) last(after func(indexEntry) bool) (indexEntry, error) {
	_, e, err := x.search(after)
	return e, err
}
