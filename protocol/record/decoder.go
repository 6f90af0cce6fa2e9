package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// zstdMaxWindow is the largest window a zstd frame may ask for, in bytes: what
// its level 19 uses. The memory is taken before the first byte comes out.
const zstdMaxWindow = 8 << 20

// decoder reads what a payload was before it was compressed. Its memory is pooled:
// close it.
type decoder interface {
	io.Reader
	close()
}

// openDecoder returns a decoder of src. limit is what a block that says its own
// size may say.
func openDecoder(codec Codec, src []byte, limit int) (decoder, error) {
	switch codec {
	case Gzip:
		return openGzip(src)
	case Snappy:
		return openSnappy(src, limit)
	case LZ4:
		return openLZ4(src)
	case Zstd:
		return openZstd(src)
	case None:
	}
	return nil, errors.New("no such codec")
}

// decoderError says which codec failed, and wraps ErrMalformed.
func decoderError(codec Codec, err error) error {
	if !errors.Is(err, ErrMalformed) {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return fmt.Errorf("decompress %s: %w", codec, err)
}

type gzipDecoder struct {
	gzip.Reader
	src bytes.Reader
}

var gzipDecoders = sync.Pool{New: func() any { return new(gzipDecoder) }}

func openGzip(src []byte) (decoder, error) {
	d := gzipDecoders.Get().(*gzipDecoder) //nolint:errcheck // the pool holds nothing else
	d.src.Reset(src)
	if err := d.Reset(&d.src); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *gzipDecoder) close() {
	d.src.Reset(nil)
	gzipDecoders.Put(d)
}

type lz4Decoder struct {
	*lz4.Reader
	src bytes.Reader
}

var lz4Decoders = sync.Pool{New: func() any { return &lz4Decoder{Reader: lz4.NewReader(nil)} }}

func openLZ4(src []byte) (decoder, error) {
	if err := checkLZ4(src); err != nil {
		return nil, err
	}
	d := lz4Decoders.Get().(*lz4Decoder) //nolint:errcheck // the pool holds nothing else
	d.src.Reset(src)
	d.Reset(&d.src)
	return d, nil
}

func (d *lz4Decoder) close() {
	d.src.Reset(nil)
	d.Reset(&d.src)
	lz4Decoders.Put(d)
}

// The parts of an LZ4 frame that checkLZ4 looks at.
const (
	lz4Magic        = 0x184D2204
	lz4Version      = 0x40 // of the flags' two upper bits, with lz4Independent
	lz4Independent  = 0x20
	lz4BlockSum     = 0x10
	lz4ContentSize  = 0x08
	lz4ContentSum   = 0x04
	lz4MustBeZero   = 0x03 // a reserved bit, and a dictionary
	lz4NoCompressed = 1 << 31
)

var errLZ4Frame = errors.New("not one LZ4 frame of independent blocks, which is all that Java's consumer reads")

// checkLZ4 tells if src is exactly one frame, of the kind that every client reads.
// It looks at the sizes of the blocks, not into them.
func checkLZ4(src []byte) error {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return errLZ4Frame
	}
	flags := src[4]
	if flags&(0xc0|lz4Independent|lz4MustBeZero) != lz4Version|lz4Independent {
		return errLZ4Frame
	}
	at := 7
	if flags&lz4ContentSize != 0 {
		at += 8
	}
	for at+4 <= len(src) {
		size := int(binary.LittleEndian.Uint32(src[at:]) &^ lz4NoCompressed)
		at += 4
		if size == 0 {
			if flags&lz4ContentSum != 0 {
				at += 4
			}
			break
		}
		if flags&lz4BlockSum != 0 {
			size += 4
		}
		at += size
	}
	if at != len(src) {
		return errLZ4Frame
	}
	return nil
}

type zstdDecoder struct {
	*zstd.Decoder
	src bytes.Reader
}

// zstdDecoders holds *zstdDecoder without goroutines, so that the collector may
// take them.
var zstdDecoders sync.Pool

func openZstd(src []byte) (decoder, error) {
	d, ok := zstdDecoders.Get().(*zstdDecoder)
	if !ok {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdMaxWindow))
		if err != nil {
			return nil, err
		}
		d = &zstdDecoder{Decoder: z}
	}
	d.src.Reset(src)
	if err := d.Reset(&d.src); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *zstdDecoder) close() {
	d.src.Reset(nil)
	_ = d.Reset(nil) // lets go of the source; says only that there is none
	zstdDecoders.Put(d)
}
