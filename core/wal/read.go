package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/quorate/quorate/protocol/record"
)

// errFileClosed is what reading a segment says that was taken away meanwhile.
var errFileClosed = fs.ErrClosed

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// joinClose closes c and returns both errors.
func joinClose(err error, c io.Closer) error { return errors.Join(err, c.Close()) }

// Read returns whole batches, as they are on disk, beginning with the one that
// holds offset from, of which it may be the middle. No batch begins at upTo or
// later. Together they are at most maxBytes; with minOne the first comes even if
// it is larger (KIP-74). The bytes are the caller's.
//
// Nothing to read, from = End included, is no error and no bytes. Errors:
// ErrOffsetOutOfRange if from is before Start or after End, *CorruptError.
func (l *Log) Read(from, upTo int64, maxBytes int, minOne bool) ([]byte, error) {
	return l.AppendRead(nil, from, upTo, maxBytes, minOne)
}

// AppendRead is Read into the caller's buffer: it appends to dst, which grows if
// it must. maxBytes does not count what dst has already.
func (l *Log) AppendRead(dst []byte, from, upTo int64, maxBytes int, minOne bool) ([]byte, error) {
	var b []byte
	err := l.stable(func(v *view) (err error) {
		end := l.end.Load()
		if start := l.start.Load(); from < start || from > end {
			return fmt.Errorf("%w: %d is not between %d and %d", ErrOffsetOutOfRange, from, start, end)
		}
		b, err = l.read(v, dst, from, min(upTo, end), maxBytes, minOne)
		return err
	})
	if err != nil {
		return dst, err
	}
	return b, nil
}

// stable calls f with the view, again if that changed meanwhile: what f read may
// then have been taken away or overwritten under its hands.
func (l *Log) stable(f func(v *view) error) error {
	for {
		if l.closed.Load() {
			return ErrClosed
		}
		v := l.view.Load()
		err := f(v)
		if err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
			l.awaitChange() // a file that was opened again may be gone, or another: then the view is about to change
		}
		if l.view.Load() == v {
			if (isClosed(err) || isNotExist(err)) && l.closed.Load() {
				return ErrClosed
			}
			return err
		}
	}
}

// awaitChange waits until whoever changes the files has published what it did.
func (l *Log) awaitChange() {
	l.mu.Lock()
	defer l.mu.Unlock()
}

// read appends batches of one segment to dst.
func (l *Log) read(v *view, dst []byte, from, upTo int64, maxBytes int, minOne bool) ([]byte, error) {
	if from >= upTo {
		return dst, nil
	}
	begin := v.covering(from)
	for i, s := range v.segments[begin:] {
		size := s.size.Load()
		sc := borrowScanner(s.file, 0, size, l.maxBatch)
		b, at, err := s.find(from, sc)
		if err != nil {
			sc.release()
			return dst, s.corrupt(err)
		}
		if b == nil { // the segment ends before from
			sc.release()
			if err := l.verify(s, from, size, size, l.boundOf(v, begin+i)); err != nil {
				return dst, s.corrupt(err)
			}
			continue
		}
		base, first := b.BaseOffset(), b.Size()
		sc.release()
		if base > from { // what was compacted away, or it is not what the header says
			if err := l.verify(s, from, at, at+int64(first), l.boundOf(v, begin+i)); err != nil {
				return dst, s.corrupt(err)
			}
		}
		if base >= upTo || first > maxBytes && !minOne {
			return dst, nil
		}
		n := int(min(size-at, int64(max(first, maxBytes))))
		old := len(dst)
		if dst, err = s.read(dst, at, n, upTo); err != nil {
			return dst, err
		}
		if err := l.verify(s, from, at, at+int64(len(dst)-old), l.boundOf(v, begin+i)); err != nil {
			return dst[:old], s.corrupt(err)
		}
		return dst, nil
	}
	return dst, nil
}

// boundOf is the offset that all batches of the i-th segment are before.
func (l *Log) boundOf(v *view, i int) int64 {
	if i < len(v.segments)-1 {
		return v.segments[i+1].base
	}
	return l.end.Load()
}

// read appends the whole batches before upTo among the n bytes at position at.
func (s *segment) read(dst []byte, at int64, n int, upTo int64) ([]byte, error) {
	old := len(dst)
	dst = slices.Grow(dst, n)[:old+n]
	if m, err := s.file.ReadAt(dst[old:], at); m < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return dst[:old], fmt.Errorf("read %s: %w", s.name, err)
	}
	whole := old
	for whole < len(dst) {
		b, _, err := record.Next(dst[whole:])
		if errors.Is(err, record.ErrShort) || err == nil && b.BaseOffset() >= upTo {
			break
		}
		if err != nil {
			return dst[:old], &CorruptError{File: s.name, Offset: at + int64(whole-old), Reason: err.Error()}
		}
		whole += len(b)
	}
	return dst[:whole], nil
}

// corrupt makes damage in s a *CorruptError.
func (s *segment) corrupt(err error) error {
	if d, ok := errors.AsType[*damage](err); ok {
		return &CorruptError{File: s.name, Offset: d.pos, Reason: d.reason}
	}
	return err
}
