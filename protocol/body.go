package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxName bounds strings in requests that are read as they arrive, in bytes. Kafka's
// topic names have 249 at most.
const maxName = 4 << 10

// body reads a request from its first byte to its last, out of memory or as it
// arrives. After the first thing that is not there it has failed and reads zeros.
type body struct {
	src  []byte        // what is here
	in   *bufio.Reader // what is to come; nil: nothing
	left int           // bytes that are still to come from in
	err  error
}

func (b *body) fail(err error) {
	if b.err == nil {
		b.err = err
	}
	b.src, b.left = nil, 0
}

// refuse fails because of what the bytes say.
func (b *body) refuse(err error) { b.fail(fmt.Errorf("%w: %w", ErrMalformed, err)) }

// rest is how many bytes of the request were not read yet.
func (b *body) rest() int { return len(b.src) + b.left }

// take returns the next n bytes, valid until the next call.
func (b *body) take(n int) []byte {
	if n < 0 || n > b.rest() {
		b.refuse(errTruncated)
		return nil
	}
	if b.in == nil {
		taken := b.src[:n:n]
		b.src = b.src[n:]
		return taken
	}
	b.left -= n
	if n > b.in.Size() {
		taken := make([]byte, n) // small: the caller has bounded it
		b.fill(taken)
		return taken
	}
	taken, err := b.in.Peek(n)
	if err != nil {
		b.fail(midFrame(err))
		return nil
	}
	_, _ = b.in.Discard(n) // what was peeked is there
	return taken
}

// fill reads bytes that were counted already.
func (b *body) fill(p []byte) {
	if _, err := io.ReadFull(b.in, p); err != nil {
		b.fail(midFrame(err))
	}
}

// skip passes over n bytes.
func (b *body) skip(n int) {
	if n < 0 || n > b.rest() {
		b.refuse(errTruncated)
		return
	}
	if b.in == nil {
		b.src = b.src[n:]
		return
	}
	b.left -= n
	if _, err := b.in.Discard(n); err != nil {
		b.fail(midFrame(err))
	}
}

func (b *body) int8() int8 {
	if p := b.take(1); len(p) == 1 {
		return int8(p[0])
	}
	return 0
}

func (b *body) int16() int16 {
	if p := b.take(2); len(p) == 2 {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (b *body) int32() int32 {
	if p := b.take(4); len(p) == 4 {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (b *body) int64() int64 {
	if p := b.take(8); len(p) == 8 {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (b *body) uuid() (id [16]byte) {
	copy(id[:], b.take(16))
	return id
}

// uvarint reads an unsigned varint of at most 32 bits.
func (b *body) uvarint() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		p := b.take(1)
		if len(p) == 0 {
			return 0
		}
		v |= uint64(p[0]&0x7f) << shift
		if p[0] < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	b.refuse(errors.New("a varint of more than 32 bits"))
	return 0
}

// length reads the length of bytes or of an array, -1 for null.
func (b *body) length(flexible bool) int {
	if flexible {
		return int(b.uvarint()) - 1
	}
	return int(b.int32())
}

// count reads the length of an array whose elements take at least so many bytes each.
func (b *body) count(flexible bool, least int) int {
	n := b.length(flexible)
	if n > b.rest()/least {
		b.refuse(errTruncated)
		return 0
	}
	return max(n, 0)
}

// nullableString reads a string; ok is false for null.
func (b *body) nullableString(flexible bool) (s string, ok bool) {
	var n int
	if flexible {
		n = int(b.uvarint()) - 1
	} else {
		n = int(b.int16())
	}
	if n < 0 {
		return "", false
	}
	if n > maxName {
		b.refuse(fmt.Errorf("a string of %d bytes, %d are allowed", n, maxName))
		return "", false
	}
	return string(b.take(n)), true
}

// string reads a string that may not be null.
func (b *body) string(flexible bool) string {
	s, ok := b.nullableString(flexible)
	if !ok && b.err == nil {
		b.refuse(errTruncated)
	}
	return s
}

// tags reads a section of tagged fields (KIP-482). known may read a field, out of a
// body of its own, and may be nil.
func (b *body) tags(known func(tag uint32, field *body)) {
	n := int(b.uvarint())
	if n > b.rest()/2 {
		b.refuse(errTruncated)
		return
	}
	for range n {
		tag, size := b.uvarint(), int(b.uvarint())
		if known == nil || size > maxName {
			b.skip(size)
		} else {
			field := body{src: b.take(size)}
			if known(tag, &field); field.err != nil {
				b.fail(field.err)
			}
		}
		if b.err != nil {
			return
		}
	}
}

// error is b.err with the name of the request.
func (b *body) error(name string, version int16) error {
	if b.err == nil {
		return nil
	}
	return fmt.Errorf("%s v%d: %w", name, version, b.err)
}
