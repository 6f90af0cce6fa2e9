package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// xerialBlock is how much goes into one block of xerial framing, in bytes: what
// Java's library takes.
const xerialBlock = 32 << 10

var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	lz4Writers  = sync.Pool{New: func() any { return lz4.NewWriter(nil) }}
	zstdEncoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	})
)

// Compress appends src to dst, compressed so that every Kafka client reads it:
// snappy in xerial framing, LZ4 in frames of independent blocks. With None it
// appends src itself.
func Compress(dst []byte, codec Codec, src []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		return compressGzip(dst, src)
	case Snappy:
		return compressSnappy(dst, src), nil
	case LZ4:
		return compressLZ4(dst, src)
	case Zstd:
		encoder, err := zstdEncoder()
		if err != nil {
			return dst, err
		}
		return encoder.EncodeAll(src, dst), nil
	}
	return dst, fmt.Errorf("no such codec: %s", codec)
}

func compressGzip(dst, src []byte) ([]byte, error) {
	w := gzipWriters.Get().(*gzip.Writer) //nolint:errcheck // the pool holds nothing else
	defer gzipWriters.Put(w)
	out := bytes.NewBuffer(dst)
	w.Reset(out)
	return writeAll(out, w, src)
}

func compressLZ4(dst, src []byte) ([]byte, error) {
	w := lz4Writers.Get().(*lz4.Writer) //nolint:errcheck // the pool holds nothing else
	defer lz4Writers.Put(w)
	out := bytes.NewBuffer(dst)
	w.Reset(out)
	// Kafka's Java client reads independent blocks only, and writes 64 KiB ones.
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil {
		return dst, err
	}
	return writeAll(out, w, src)
}

func writeAll(out *bytes.Buffer, w io.WriteCloser, src []byte) ([]byte, error) {
	if _, err := w.Write(src); err != nil {
		return out.Bytes(), err
	}
	err := w.Close()
	return out.Bytes(), err
}

func compressSnappy(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1) // version
	dst = binary.BigEndian.AppendUint32(dst, 1) // the oldest that can read it
	for {
		block := src[:min(len(src), xerialBlock)]
		at := len(dst)
		dst = append(dst, make([]byte, 4+snappy.MaxEncodedLen(len(block)))...)
		encoded := snappy.Encode(dst[at+4:], block)
		binary.BigEndian.PutUint32(dst[at:], uint32(len(encoded)))
		dst = dst[:at+4+len(encoded)]
		if src = src[len(block):]; len(src) == 0 {
			return dst
		}
	}
}
