package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// DecompressLimits bounds what a compressed batch may become.
type DecompressLimits struct {
	// MaxBytes is the largest result.
	MaxBytes int
	// MaxRatio is how many times the compressed size the result may be, once it
	// is above ratioFree (1 MiB): small batches of zeros compress without bound.
	MaxRatio int
}

// ratioFree is the result up to which MaxRatio does not count, in bytes.
const ratioFree = 1 << 20

// zstdMaxWindow is the largest window a zstd frame may ask for, in bytes: what
// its level 19 uses. The memory is taken before the first byte comes out.
const zstdMaxWindow = 8 << 20

// ErrTooLarge says that a batch would decompress to more than the limits allow.
// It wraps ErrMalformed.
var ErrTooLarge = fmt.Errorf("%w: decompressed size is above the limit", ErrMalformed)

// DefaultDecompressLimits is 128 MiB and 1000 times.
func DefaultDecompressLimits() DecompressLimits {
	return DecompressLimits{MaxBytes: 128 << 20, MaxRatio: 1000}
}

// bytesFor is the limit for an input of n bytes.
func (l DecompressLimits) bytesFor(n int) int {
	return min(l.MaxBytes, max(ratioFree, n*l.MaxRatio))
}

// Decompress returns what src was before codec compressed it. The result of None
// is src itself. It takes memory as the result grows, never by a length that src
// claims; errors wrap ErrMalformed.
func Decompress(codec Codec, src []byte, limits DecompressLimits) ([]byte, error) {
	limit := limits.bytesFor(len(src))
	var dst []byte
	var err error
	switch codec {
	case None:
		return src, nil
	case Gzip:
		dst, err = gunzip(src, limit)
	case Snappy:
		dst, err = unsnappy(src, limit)
	case LZ4:
		dst, err = unlz4(src, limit)
	case Zstd:
		dst, err = unzstd(src, limit)
	default:
		err = errors.New("no such codec")
	}
	if err != nil && !errors.Is(err, ErrMalformed) {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", codec, err)
	}
	return dst, nil
}

// readLimited reads all of r, or fails with ErrTooLarge after limit bytes.
func readLimited(r io.Reader, limit int) ([]byte, error) {
	var dst bytes.Buffer
	n, err := dst.ReadFrom(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(limit) {
		return nil, ErrTooLarge
	}
	return dst.Bytes(), nil
}

var gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}

func gunzip(src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzip.Reader) //nolint:errcheck // the pool holds nothing else
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	return readLimited(r, limit)
}

var lz4Readers = sync.Pool{New: func() any { return lz4.NewReader(nil) }}

func unlz4(src []byte, limit int) ([]byte, error) {
	r := lz4Readers.Get().(*lz4.Reader) //nolint:errcheck // the pool holds nothing else
	defer lz4Readers.Put(r)
	r.Reset(bytes.NewReader(src))
	return readLimited(r, limit)
}

// zstdReaders holds *zstd.Decoder without goroutines, so that the collector may
// take them.
var zstdReaders sync.Pool

func unzstd(src []byte, limit int) ([]byte, error) {
	r, ok := zstdReaders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		r, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdMaxWindow))
		if err != nil {
			return nil, err
		}
	}
	defer zstdReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	return readLimited(r, limit)
}

// xerialMagic opens the framing of Java's snappy library: the magic, two
// versions of four bytes, then blocks with a four-byte length each.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderSize = 16

// unsnappy reads a raw snappy block, as librdkafka and Go write, or xerial
// framing, as Java does.
func unsnappy(src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return appendSnappy(nil, src, limit)
	}
	if len(src) < xerialHeaderSize {
		return nil, io.ErrUnexpectedEOF
	}
	var dst []byte
	for src = src[xerialHeaderSize:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return nil, io.ErrUnexpectedEOF
		}
		var err error
		if dst, err = appendSnappy(dst, src[:n], limit); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return dst, nil
}

// appendSnappy appends one decoded block to dst, which stays within limit.
func appendSnappy(dst, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, err
	}
	// A block expands at most 64 bytes from 3 (a copy), so a claim beyond that is a lie.
	if n > limit-len(dst) || n > len(block)*22+64 {
		return nil, ErrTooLarge
	}
	decoded, err := snappy.Decode(nil, block)
	if err != nil {
		return nil, err
	}
	if dst == nil {
		return decoded, nil
	}
	return append(dst, decoded...), nil
}
