package ring

import (
	"math/bits"
	"sync"
)

// chunkSize is the unit that a round's memory grows by, in bytes. Larger frames get
// a chunk of their own.
const chunkSize = 256 << 10

// Round is frames on their way to be committed together. It owns copies of their
// payloads.
type Round struct {
	chunks  [][]byte // each as long as it is used
	headers [][]byte // of the frames, in the chunks
	size    int64    // bytes
	filling sync.WaitGroup
}

// Slot is a frame's place in a round.
type Slot struct {
	round *Round
	bytes []byte
	frame Frame
}

// Reserve gives the frame the next place in the round. Callers take turns, and the
// order of their turns is that of the frames. Each must call Fill, and may do so
// when others have had their turn: Commit waits for it.
func (r *Round) Reserve(f Frame) Slot {
	n := HeaderSize + len(f.Payload)
	b := r.room(n)
	r.headers = append(r.headers, b[:HeaderSize])
	r.size += int64(n)
	r.filling.Add(1)
	return Slot{r, b, f}
}

// Fill copies the frame into the round.
func (s Slot) Fill() {
	crc, _ := payloadCRC(s.frame.Type, s.frame.Payload)
	encodeFrame(s.bytes, &s.frame, crc)
	copy(s.bytes[HeaderSize:], s.frame.Payload)
	s.round.filling.Done()
}

// Size is the round's frames, in bytes.
func (r *Round) Size() int64 { return r.size }

// Frames is how many frames the round has.
func (r *Round) Frames() int { return len(r.headers) }

// room returns n bytes at the end.
func (r *Round) room(n int) []byte {
	if last := len(r.chunks) - 1; last >= 0 {
		if c := r.chunks[last]; cap(c)-len(c) >= n {
			r.chunks[last] = c[:len(c)+n]
			return c[len(c) : len(c)+n : len(c)+n]
		}
	}
	c := borrowChunk(n)[:n]
	r.chunks = append(r.chunks, c)
	return c[:n:n]
}

// Release gives the round's memory back; the round is empty again. Not before its
// Commit has returned.
func (r *Round) Release() {
	for i, c := range r.chunks {
		returnChunk(c)
		r.chunks[i] = nil
	}
	clear(r.headers)
	if cap(r.headers) > maxKeptHeaders {
		r.headers = nil
	}
	r.chunks, r.headers, r.size = r.chunks[:0], r.headers[:0], 0
}

// maxKeptHeaders is how many places an empty round keeps for headers.
const maxKeptHeaders = 1 << 14

// chunks by the power of two that they have room for.
var chunkPools [32]sync.Pool

func sizeClass(n int) int { return bits.Len(uint(max(n, chunkSize) - 1)) }

func borrowChunk(n int) []byte {
	class := sizeClass(n)
	if c, ok := chunkPools[class].Get().(*[]byte); ok {
		return *c
	}
	return make([]byte, 0, 1<<class)
}

func returnChunk(c []byte) {
	c = c[:0]
	chunkPools[sizeClass(cap(c))].Put(&c)
}
