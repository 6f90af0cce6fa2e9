package record

import (
	"encoding/binary"
	"math"
)

// scanRecord reads the record that b begins with if all of it is there and nothing
// is wrong with it, and returns its size, timestamp delta, and if it has a key. Else
// the size is 0 and somebody slower has to say why.
func scanRecord(b []byte, delta int64) (size int, timestamp int64, keyed bool) {
	length, at := varintAt(b, 0)
	if length < minRecordSize-1 || length > int64(len(b)-at) {
		return 0, 0, false
	}
	b = b[:at+int(length)]
	timestamp, at = varintAt(b, at+1)
	got, at := varintAt(b, at)
	key, at := varintAt(b, at)
	if got != delta || key < -1 || key > int64(len(b)-at) {
		return 0, 0, false
	}
	value, at := varintAt(b, at+max(int(key), 0))
	if value < -1 || value > int64(len(b)-at) {
		return 0, 0, false
	}
	headers, at := varintAt(b, at+max(int(value), 0))
	for ; headers > 0 && at < len(b); headers-- {
		var n int64
		if n, at = varintAt(b, at); n < 0 || n > int64(len(b)-at) {
			return 0, 0, false
		}
		if n, at = varintAt(b, at+int(n)); n < -1 || n > int64(len(b)-at) {
			return 0, 0, false
		}
		at += max(int(n), 0)
	}
	if headers != 0 || at != len(b) {
		return 0, 0, false
	}
	return at, timestamp, key >= 0
}

// beyond is the position after a varint that is not there: no position is in
// reach from it, and nothing is added to it without a look.
const beyond = math.MaxInt

// varintAt reads a zigzag varint at a position and returns the one after it. Most
// have one byte.
func varintAt(b []byte, at int) (v int64, next int) {
	if at < len(b) && b[at] < 0x80 {
		return int64(b[at]>>1) ^ -int64(b[at]&1), at + 1
	}
	return longVarintAt(b, at)
}

func longVarintAt(b []byte, at int) (v int64, next int) {
	if at >= len(b) {
		return 0, beyond
	}
	v, n := binary.Varint(b[at:])
	if n <= 0 {
		return 0, beyond
	}
	return v, at + n
}
