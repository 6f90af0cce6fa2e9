package record

import (
	"bytes"
	"fmt"
	"io"
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
	if codec == None {
		return src, nil
	}
	limit := limits.bytesFor(len(src))
	r, err := openDecoder(codec, src, limit)
	if err != nil {
		return nil, decoderError(codec, err)
	}
	defer r.close()
	dst, err := readLimited(r, limit)
	if err != nil {
		return nil, decoderError(codec, err)
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
