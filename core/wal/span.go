package wal

import (
	"fmt"
	"io"
	"sync/atomic"
	"syscall"

	"github.com/quorate/quorate/core/wal/filecache"
)

// Span is whole batches where they lie: a part of one segment's file. The file stays
// open until Release, also if the segment is deleted meanwhile.
//
// The methods but Release may be called on a nil *Span, which has no bytes.
type Span struct {
	file *filecache.Handle
	at   int64 // position in the file
	size int
	end  int64 // offset
	done atomic.Bool
}

// End is the offset before which all records of the span are, at most some after the last.
func (s *Span) End() int64 {
	if s == nil {
		return 0
	}
	return s.end
}

// Size is the number of bytes.
func (s *Span) Size() int {
	if s == nil {
		return 0
	}
	return s.size
}

// ReadAt reads from position at of the span.
func (s *Span) ReadAt(p []byte, at int64) (int, error) {
	left := int64(s.Size()) - at
	if left <= 0 {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), left)], s.at+at)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// File returns the open file and where the span begins in it, for the kernel to copy
// from; ok is false if it is no file of the operating system.
func (s *Span) File() (file syscall.Conn, at int64, ok bool) {
	if s == nil {
		return nil, 0, false
	}
	file, ok = s.file.File.(syscall.Conn)
	return file, s.at, ok
}

// Release lets go of the file.
func (s *Span) Release() {
	if !s.done.Swap(true) {
		_ = s.file.Release() // of a segment that is gone; there is nobody to tell
	}
}

// Span is Read without reading: the same batches, where they lie. It is nil if there
// are none. Release it.
func (l *Log) Span(from, upTo int64, maxBytes int, minOne bool) (*Span, error) {
	var found *Span
	err := l.stable(func(v *view) error {
		if found != nil {
			found.Release() // the view changed while it was looked for
			found = nil
		}
		end := l.end.Load()
		if start := l.start.Load(); from < start || from > end {
			return fmt.Errorf("%w: %d is not between %d and %d", ErrOffsetOutOfRange, from, start, end)
		}
		r, err := l.rangeOf(v, from, min(upTo, end), maxBytes, minOne)
		if err != nil || r.size <= 0 {
			return err
		}
		h, err := r.file.Hold()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		found = &Span{file: h, at: r.at, size: int(r.size), end: r.end}
		return nil
	})
	if err != nil && found != nil {
		found.Release()
		found = nil
	}
	return found, err
}

// fileRange is a part of a segment's file.
type fileRange struct {
	file     *filecache.File
	at, size int64
	end      int64 // offset before which all of it is
}

// rangeOf finds the batches of one segment.
func (l *Log) rangeOf(v *view, from, upTo int64, maxBytes int, minOne bool) (fileRange, error) {
	if from >= upTo {
		return fileRange{}, nil
	}
	for i := v.covering(from); i < len(v.segments); i++ {
		s := v.segments[i]
		size := s.size.Load()
		at, err := l.position(s, from, size, true)
		if err != nil {
			return fileRange{}, s.corrupt(err)
		}
		if at == size { // the segment ends before from
			if err := l.verify(s, from, size, size, l.boundOf(v, i)); err != nil {
				return fileRange{}, s.corrupt(err)
			}
			continue
		}
		end, upTo := size, upTo
		if i < len(v.segments)-1 {
			upTo = min(upTo, v.segments[i+1].base)
		}
		if i == len(v.segments)-1 || v.segments[i+1].base > upTo {
			if end, err = l.position(s, upTo, size, false); err != nil {
				return fileRange{}, s.corrupt(err)
			}
		}
		if end-at > int64(maxBytes) {
			if end, upTo, err = l.wholeBatches(s, at, maxBytes, size, minOne, upTo); err != nil {
				return fileRange{}, s.corrupt(err)
			}
		}
		checkTo := end
		if end <= at && at < s.trusted.Load() { // nothing before upTo, if the header that says so is right
			if checkTo, _, err = l.wholeBatches(s, at, 1, size, true, upTo); err != nil {
				return fileRange{}, s.corrupt(err)
			}
		}
		if err := l.verify(s, from, at, checkTo, l.boundOf(v, i)); err != nil {
			return fileRange{}, s.corrupt(err)
		}
		return fileRange{s.file, at, end - at, upTo}, nil
	}
	return fileRange{}, nil
}

// position returns where the batch with an offset begins, or the first one after it;
// with within it is, without it is the end of a batch that has it in its middle.
// Without such a batch it is the segment's size. What was found is remembered: a
// reader at the tail goes on from where it stopped, and every reader stops at the
// same high watermark.
func (l *Log) position(s *segment, offset, size int64, within bool) (int64, error) {
	if at, ok := l.marks.find(s, offset); ok && at <= size {
		return at, nil
	}
	sc := borrowScanner(s.file, 0, size, l.maxBatch)
	defer sc.release()
	b, at, err := s.find(offset, sc)
	switch {
	case err != nil:
		return 0, err
	case b == nil:
		at = size
	case b.BaseOffset() < offset:
		if !within {
			at += int64(b.Size())
		}
		return at, nil // no place where offset begins
	}
	l.marks.remember(s, offset, at)
	return at, nil
}

// wholeBatches returns the end of the last batch that ends within maxBytes of at; if
// there is none, the end of the first one with minOne, else at. next is the offset after
// it, upTo without another batch.
func (l *Log) wholeBatches(s *segment, at int64, maxBytes int, size int64, minOne bool, upTo int64) (end, next int64, err error) {
	limit := at + int64(maxBytes)
	e, err := s.lookup(func(e indexEntry) bool { return int64(e.position) > limit })
	if err != nil {
		return 0, 0, err
	}
	sc := borrowScanner(s.file, max(at, int64(e.position)), size, l.maxBatch)
	defer sc.release()
	for indexed := int64(e.position) > at; ; indexed = false {
		b, pos, err := sc.next()
		if indexed && !s.agrees(e, b, err) {
			s.distrustIndex()
			sc.pos = at
			continue
		}
		switch {
		case err != nil:
			return 0, 0, err
		case b == nil:
			return pos, upTo, nil
		case pos+int64(b.Size()) <= limit:
			continue
		case pos == at && minOne:
			return pos + int64(b.Size()), b.LastOffset() + 1, nil
		}
		l.marks.remember(s, b.BaseOffset(), pos) // where the reader will go on
		return pos, b.BaseOffset(), nil
	}
}

// marks remembers where batches begin: those that readers stopped at.
type marks [8]atomic.Pointer[mark]

// mark says that in a segment the first batch that is not before an offset begins at a
// position. It stays true as long as the segment is in the view: truncation makes
// another one.
type mark struct {
	segment *segment
	offset  int64
	at      int64
}

func (m *marks) slot(offset int64) *atomic.Pointer[mark] {
	return &m[uint64(offset)*0x9e3779b97f4a7c15>>61]
}

func (m *marks) find(s *segment, offset int64) (at int64, ok bool) {
	k := m.slot(offset).Load()
	if k == nil || k.segment != s || k.offset != offset {
		return 0, false
	}
	return k.at, true
}

func (m *marks) remember(s *segment, offset, at int64) {
	m.slot(offset).Store(&mark{s, offset, at})
}
