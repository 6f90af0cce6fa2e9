package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// windowSize is how much of a compressed batch is in memory at a time, in bytes,
// beside what the decoder holds.
const windowSize = 32 << 10

// timeSlice is how much is decompressed at a stretch, in bytes.
const timeSlice = 256 << 10

// window reads the records of a batch from front to back. Bytes that are not
// compressed are read where they are; others come through a decoder, a window at a
// time. After the first error it reads zeros.
type window struct {
	buf    []byte // what is here and not read yet
	before int64  // bytes before buf, read or skipped
	codec  Codec
	source decoder // nil if there is none, or nothing more comes from it
	opened decoder // to close
	limit  int64   // bytes that source may still give
	slice  int     // bytes that it may give before others get the CPU
	err    error   // wraps ErrMalformed
	mem    []byte
}

var windows = sync.Pool{New: func() any { return &window{mem: make([]byte, windowSize)} }}

// openWindow begins to read a payload. Close the window.
func openWindow(codec Codec, payload []byte, limits DecompressLimits) (*window, error) {
	w := windows.Get().(*window) //nolint:errcheck // the pool holds nothing else
	*w = window{mem: w.mem, codec: codec}
	if codec == None {
		w.buf = payload
		return w, nil
	}
	limit := limits.bytesFor(len(payload))
	d, err := openDecoder(codec, payload, limit)
	if err != nil {
		w.close()
		return nil, decoderError(codec, err)
	}
	w.source, w.opened, w.limit, w.slice = d, d, int64(limit), timeSlice
	return w, nil
}

func (w *window) close() {
	if w.opened != nil {
		w.opened.close()
	}
	*w = window{mem: w.mem}
	windows.Put(w)
}

// position is how many bytes were read or skipped.
func (w *window) position() int64 { return w.before }

// fail keeps the first error.
func (w *window) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.buf, w.source = nil, nil
}

// fill brings n bytes into buf if there are as many, n being small against a window.
func (w *window) fill(n int) {
	if w.source == nil || len(w.buf) >= n {
		return
	}
	have := copy(w.mem, w.buf)
	for have < n {
		m, err := w.source.Read(w.mem[have:])
		have += m
		if w.slice -= m; w.slice < 0 {
			runtime.Gosched() // bombs must not make others wait for ten milliseconds at a time
			w.slice = timeSlice
		}
		if w.limit -= int64(m); w.limit < 0 {
			w.fail(decoderError(w.codec, ErrTooLarge))
			return
		}
		if errors.Is(err, io.EOF) {
			w.source = nil
			break
		}
		if err != nil {
			w.fail(decoderError(w.codec, err))
			return
		}
	}
	w.buf = w.mem[:have]
}

// more tells if another byte comes. At the end the decoder has checked its sums.
func (w *window) more() bool {
	w.fill(1)
	return len(w.buf) > 0
}

// varint reads a zigzag varint.
func (w *window) varint() int64 {
	if len(w.buf) < binary.MaxVarintLen64 {
		w.fill(binary.MaxVarintLen64)
	}
	v, n := binary.Varint(w.buf)
	if n <= 0 {
		w.fail(errEndsEarly)
		return 0
	}
	w.buf = w.buf[n:]
	w.before += int64(n)
	return v
}

var errEndsEarly = fmt.Errorf("%w: the batch ends within it", ErrMalformed)

// skip passes over n bytes.
func (w *window) skip(n int64) {
	for {
		if step := int64(len(w.buf)); n > step {
			n -= step
			w.before += step
			w.buf = nil
			if w.fill(1); len(w.buf) == 0 {
				w.fail(errEndsEarly)
				return
			}
			continue
		}
		w.buf = w.buf[n:]
		w.before += n
		return
	}
}

// skipNullable passes over bytes with their length in front and returns it, -1 for null.
func (w *window) skipNullable() int64 {
	n := w.varint()
	switch {
	case n < -1:
		w.fail(fmt.Errorf("%w: a length of %d", ErrMalformed, n))
	case n > 0:
		w.skip(n)
	}
	return n
}

// skipHeaders passes over a record's headers. Each takes two bytes, so a count that
// lies ends with the batch.
func (w *window) skipHeaders() {
	n := w.varint()
	if n < 0 {
		w.fail(fmt.Errorf("%w: %d headers", ErrMalformed, n))
	}
	for ; n > 0 && w.err == nil; n-- {
		if w.skipNullable() < 0 {
			w.fail(fmt.Errorf("%w: a header without a key", ErrMalformed))
		}
		w.skipNullable()
	}
}
