package record

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/snappy"
)

// xerialMagic opens the framing of Java's snappy library: the magic, two
// versions of four bytes, then blocks with a four-byte length each.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderSize = 16

// keepSnappy is the largest block whose memory stays in the pool, in bytes.
const keepSnappy = 1 << 20

// snappyDecoder reads a raw snappy block, as librdkafka and Go write, or xerial
// framing, as Java does. A block is decoded as a whole, as the format wants it.
type snappyDecoder struct {
	src    []byte
	framed bool
	limit  int // of all blocks, in bytes
	block  []byte
	mem    []byte
}

var snappyDecoders = sync.Pool{New: func() any { return new(snappyDecoder) }}

func openSnappy(src []byte, limit int) (decoder, error) {
	d := snappyDecoders.Get().(*snappyDecoder) //nolint:errcheck // the pool holds nothing else
	*d = snappyDecoder{src: src, limit: limit, mem: d.mem}
	if err := d.begin(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *snappyDecoder) begin() error {
	if !bytes.HasPrefix(d.src, xerialMagic) {
		return d.decode(d.src)
	}
	if len(d.src) < xerialHeaderSize {
		return io.ErrUnexpectedEOF
	}
	d.framed, d.src = true, d.src[xerialHeaderSize:]
	return nil
}

func (d *snappyDecoder) close() {
	mem := d.mem
	if cap(mem) > keepSnappy {
		mem = nil
	}
	*d = snappyDecoder{mem: mem}
	snappyDecoders.Put(d)
}

// Read implements io.Reader.
func (d *snappyDecoder) Read(p []byte) (int, error) {
	for len(d.block) == 0 {
		if !d.framed || len(d.src) == 0 {
			return 0, io.EOF
		}
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.block)
	d.block = d.block[n:]
	return n, nil
}

// next decodes the next block of a frame.
func (d *snappyDecoder) next() error {
	if len(d.src) < 4 {
		return io.ErrUnexpectedEOF
	}
	n := binary.BigEndian.Uint32(d.src)
	rest := d.src[4:]
	if uint64(n) > uint64(len(rest)) {
		return io.ErrUnexpectedEOF
	}
	d.src = rest[n:]
	return d.decode(rest[:n])
}

// decode decodes one block, within what is left of the limit.
func (d *snappyDecoder) decode(block []byte) error {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return err
	}
	// A block expands at most 64 bytes from 3 (a copy), so a claim beyond that is a lie.
	if n > d.limit || n > len(block)*22+64 {
		return ErrTooLarge
	}
	d.limit -= n
	if cap(d.mem) < n {
		d.mem = make([]byte, n)
	}
	d.block, err = snappy.Decode(d.mem[:n], block)
	return err
}
