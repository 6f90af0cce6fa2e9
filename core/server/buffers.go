package server

import (
	"bufio"
	"math/bits"
	"sync"
)

// Buffers come in classes of powers of two, so that one that was given back fits the
// next request of about the size.
const (
	minBufferBits = 12 // 4 KiB
	maxBufferBits = 24 // 16 MiB; larger ones are not kept
)

// buffer is memory out of the pool.
type buffer struct{ b []byte }

var buffers [maxBufferBits - minBufferBits + 1]sync.Pool

// bufferClass is the class whose buffers have room for n bytes.
func bufferClass(n int) int {
	return max(bits.Len(uint(max(n, 1)-1))-minBufferBits, 0)
}

// bufferSize is what a buffer for n bytes takes.
func bufferSize(n int) int {
	if class := bufferClass(n); class < len(buffers) {
		return 1 << (class + minBufferBits)
	}
	return n
}

// getBuffer returns a buffer with room for n bytes and nothing in it.
func getBuffer(n int) *buffer {
	class := bufferClass(n)
	if class < len(buffers) {
		if b, ok := buffers[class].Get().(*buffer); ok {
			return b
		}
	}
	return &buffer{make([]byte, 0, bufferSize(n))}
}

// putBuffer gives a buffer back, which may have grown.
func putBuffer(b *buffer) {
	class := bits.Len(uint(cap(b.b))) - 1 - minBufferBits // whose size it has at least
	if class >= 0 && class < len(buffers) {
		b.b = b.b[:0]
		buffers[class].Put(b)
	}
}

// readerSize is how much of a connection's input is buffered, in bytes. Records that
// are there as a whole are used in place.
const readerSize = 16 << 10

// readers are the input buffers of connections that are not idle.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readerSize) }}
