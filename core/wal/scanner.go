package wal

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/quorate/quorate/protocol/record"
)

// scanChunk is how much a scanner reads at once, in bytes: a little more than an
// index interval.
const scanChunk = 8 << 10

// verifyChunk is the same when whole batches are read.
const verifyChunk = 256 << 10

// damage says why the bytes at pos are not a batch. It is what a torn write looks
// like, so the caller decides what it means.
type damage struct {
	pos    int64
	reason string
}

func (d *damage) Error() string { return fmt.Sprintf("at byte %d: %s", d.pos, d.reason) }

// scanner walks over the batches of a file, in order. It reads headers only, or
// whole batches with their CRC if verify is set.
type scanner struct {
	file   io.ReaderAt
	pos    int64 // of the next batch
	limit  int64 // size of the file
	max    int   // largest batch
	verify bool

	buf   []byte // bytes of the file from bufAt
	bufAt int64
	mem   []byte
}

// next returns the batch at pos, and moves behind it. Without verify only the
// batch's header is there. The batch is valid until the following call. At the
// limit it returns nil; what is no batch is a *damage, everything else an error of
// the disk.
func (s *scanner) next() (batch record.Batch, at int64, err error) {
	at = s.pos
	left := s.limit - at
	if left == 0 {
		return nil, at, nil
	}
	if left < record.HeaderSize {
		return nil, at, &damage{at, fmt.Sprintf("%d bytes are too few for a batch", left)}
	}
	head, err := s.bytes(at, record.HeaderSize)
	if err != nil {
		return nil, at, err
	}
	b := record.Batch(head)
	size := int64(b.Length()) + record.LogOverhead
	switch {
	case b.Magic() != 2:
		return nil, at, &damage{at, fmt.Sprintf("magic is %d", b.Magic())}
	case size < record.HeaderSize || size > int64(s.max):
		return nil, at, &damage{at, fmt.Sprintf("a batch cannot have %d bytes", size)}
	case size > left:
		return nil, at, &damage{at, fmt.Sprintf("the batch has %d bytes, the file only %d more", size, left)}
	case b.LastOffsetDelta() < 0 || b.BaseOffset() < 0:
		return nil, at, &damage{at, "offsets are negative"}
	}
	if s.verify {
		if head, err = s.bytes(at, int(size)); err != nil {
			return nil, at, err
		}
		if b = record.Batch(head); !b.CheckCRC() {
			return nil, at, &damage{at, "CRC does not match"}
		}
	}
	s.pos = at + size
	return b, at, nil
}

// bytes returns n bytes of the file, from the buffer if they are there.
func (s *scanner) bytes(at int64, n int) ([]byte, error) {
	if off := at - s.bufAt; off >= 0 && off+int64(n) <= int64(len(s.buf)) {
		return s.buf[off : off+int64(n)], nil
	}
	chunk := int64(scanChunk)
	if s.verify {
		chunk = verifyChunk
	}
	want := int(min(max(int64(n), chunk), s.limit-at))
	if cap(s.mem) < want {
		s.mem = make([]byte, want)
	}
	s.buf, s.bufAt = nil, at
	m, err := s.file.ReadAt(s.mem[:want], at)
	if m < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	s.buf = s.mem[:m]
	return s.buf[:n], nil
}

var scanners = sync.Pool{New: func() any { return &scanner{mem: make([]byte, scanChunk)} }}

// borrowScanner returns a header scanner from the pool; give it back with release.
func borrowScanner(f io.ReaderAt, pos, limit int64, maxBatch int) *scanner {
	s := scanners.Get().(*scanner) //nolint:errcheck // the pool holds nothing else
	*s = scanner{file: f, pos: pos, limit: limit, max: maxBatch, mem: s.mem}
	return s
}

func (s *scanner) release() {
	if cap(s.mem) <= scanChunk {
		*s = scanner{mem: s.mem}
		scanners.Put(s)
	}
}
