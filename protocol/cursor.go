package protocol

import "encoding/binary"

// cursor reads Kafka's primitive types off a byte slice. After the first thing that
// is not there it is bad and reads zeros. It never allocates.
type cursor struct {
	src []byte
	bad bool
}

func (c *cursor) fail() {
	c.src, c.bad = nil, true
}

// skip passes over n bytes.
func (c *cursor) skip(n int) {
	if n < 0 || n > len(c.src) {
		c.fail()
		return
	}
	c.src = c.src[n:]
}

// take returns the next n bytes.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.src) {
		c.fail()
		return nil
	}
	taken := c.src[:n:n]
	c.src = c.src[n:]
	return taken
}

func (c *cursor) int8() int8 {
	b := c.take(1)
	if b == nil {
		return 0
	}
	return int8(b[0])
}

func (c *cursor) int16() int16 {
	b := c.take(2)
	if b == nil {
		return 0
	}
	return int16(binary.BigEndian.Uint16(b))
}

func (c *cursor) int32() int32 {
	b := c.take(4)
	if b == nil {
		return 0
	}
	return int32(binary.BigEndian.Uint32(b))
}

// uvarint reads an unsigned varint of at most 32 bits.
func (c *cursor) uvarint() uint32 {
	v, n := binary.Uvarint(c.src[:min(len(c.src), 5)])
	if n <= 0 || v > 1<<32-1 {
		c.fail()
		return 0
	}
	c.src = c.src[n:]
	return uint32(v)
}

// length reads the length of a string, -1 for null.
func (c *cursor) stringLength(flexible bool) int {
	if flexible {
		return int(c.uvarint()) - 1
	}
	return int(c.int16())
}

// length reads the length of bytes or of an array, -1 for null.
func (c *cursor) length(flexible bool) int {
	if flexible {
		return int(c.uvarint()) - 1
	}
	return int(c.int32())
}

// tagCount reads the count of a tag section. Each tag needs two bytes at least.
func (c *cursor) tagCount() int {
	n := int(c.uvarint())
	if n > len(c.src)/2 {
		c.fail()
		return 0
	}
	return n
}

// skipTags passes over a section of tagged fields (KIP-482).
func (c *cursor) skipTags() {
	for range c.tagCount() {
		c.uvarint()
		c.skip(int(c.uvarint()))
		if c.bad {
			return
		}
	}
}
