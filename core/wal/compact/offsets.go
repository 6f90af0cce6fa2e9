package compact

import (
	"crypto/sha256"
	"encoding/binary"
)

// slotSize is what a key takes in memory, in bytes, whatever its length.
const slotSize = 24

// Offsets is the newest offset of every key, in memory that does not grow. A key
// is known by 16 bytes of its SHA-256: nobody can make two that are taken for one,
// which would cost a record. Not for concurrent use.
type Offsets struct {
	slots []slot
	used  int
	limit int
}

type slot struct {
	high, low uint64
	next      int64 // the offset + 1; 0 is an empty slot
}

// NewOffsets takes that many bytes, for nine tenths of bytes/24 keys, at least one.
func NewOffsets(bytes int) *Offsets {
	n := max(bytes/slotSize, 2)
	return &Offsets{slots: make([]slot, n), limit: max(n*9/10, 1)}
}

// BytesFor is the memory in which n keys have room, in bytes.
func BytesFor(n int64) int64 { return (min(max(n, 1), 1<<40)*10/9 + 2) * slotSize }

// Put remembers that key is at offset, which is larger than those before. It
// tells false, and remembers nothing, if the key is new and there is no room.
func (o *Offsets) Put(key []byte, offset int64) bool {
	s, high, low := o.find(key)
	if s.next == 0 {
		if o.used == o.limit {
			return false
		}
		o.used++
	}
	*s = slot{high, low, offset + 1}
	return true
}

// Latest is the largest offset that key was put with.
func (o *Offsets) Latest(key []byte) (offset int64, ok bool) {
	s, _, _ := o.find(key)
	return s.next - 1, s.next != 0
}

// Len is how many keys there are.
func (o *Offsets) Len() int { return o.used }

// find returns the slot of key, or the empty one where it belongs. There is one,
// because limit is less than the number of slots.
func (o *Offsets) find(key []byte) (s *slot, high, low uint64) {
	sum := sha256.Sum256(key)
	high, low = binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])
	for i := high % uint64(len(o.slots)); ; i = (i + 1) % uint64(len(o.slots)) {
		s = &o.slots[i]
		if s.next == 0 || s.high == high && s.low == low {
			return s, high, low
		}
	}
}
