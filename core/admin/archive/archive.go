// Package archive is the form in which a snapshot of the metadata log leaves a
// cluster: a file that says what it is of and proves that it is whole. The content is
// the state machine's own, and opaque here. docs/formats/metadata-archive.md has the
// bytes.
//
// What is damaged is found by its chunk, and what is cut off by the missing end: a
// reader never returns io.EOF for half an archive.
package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

const (
	// Magic is how every archive begins; its last byte is the version.
	Magic = "QUOARCH\x01"

	// chunkBytes is how much a writer puts into a chunk; maxChunkBytes bounds what a
	// reader takes.
	chunkBytes    = 256 << 10
	maxChunkBytes = 1 << 20
	// maxHeaderBytes bounds the header.
	maxHeaderBytes = 1 << 20
)

// ErrDamaged is in the error of everything that is wrong with an archive's bytes.
var ErrDamaged = errors.New("the archive is damaged")

// Header says what an archive is of.
type Header struct {
	Cluster string `json:"cluster"`
	Backend string `json:"backend"`
	Node    int32  `json:"node"` // that wrote it
	// Index and Term are of the last entry of the metadata log that the content has.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// ConfigIndex and Members are the membership, as the node had it then.
	ConfigIndex uint64    `json:"config_index"`
	Members     []Member  `json:"members"`
	Format      string    `json:"format"` // of the content
	Created     time.Time `json:"created"`
}

// Member is a replica of the metadata log.
type Member struct {
	Replica uint64 `json:"replica"`
	Broker  int32  `json:"broker"`
	Address string `json:"address"`
	Role    string `json:"role"`
}

// Write writes an archive whose content is what content writes.
func Write(w io.Writer, h Header, content func(io.Writer) error) error {
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(head) > maxHeaderBytes {
		return fmt.Errorf("a header of %d bytes, at most %d", len(head), maxHeaderBytes)
	}
	whole := sha256.New()
	c := &chunkWriter{w: io.MultiWriter(w, whole)}
	first := binary.BigEndian.AppendUint32([]byte(Magic), uint32(len(head)))
	if _, err := c.w.Write(append(first, head...)); err != nil {
		return err
	}
	if err := content(c); err != nil {
		return err
	}
	if err := c.finish(); err != nil {
		return err
	}
	_, err = w.Write(whole.Sum(nil))
	return err
}

// chunkWriter gathers what is written into chunks.
type chunkWriter struct {
	w   io.Writer
	buf []byte
}

func (c *chunkWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		take := min(len(p), chunkBytes-len(c.buf))
		c.buf, p = append(c.buf, p[:take]...), p[take:]
		if len(c.buf) == chunkBytes {
			if err := c.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (c *chunkWriter) flush() error {
	sum := sha256.Sum256(c.buf)
	for _, b := range [][]byte{binary.BigEndian.AppendUint32(nil, uint32(len(c.buf))), sum[:], c.buf} {
		if _, err := c.w.Write(b); err != nil {
			return err
		}
	}
	c.buf = c.buf[:0]
	return nil
}

func (c *chunkWriter) finish() error {
	if len(c.buf) > 0 {
		if err := c.flush(); err != nil {
			return err
		}
	}
	_, err := c.w.Write(make([]byte, 4))
	return err
}

// Reader reads an archive's content. It returns io.EOF only after everything, the end
// included, was right.
type Reader struct {
	Header Header

	r      io.Reader // also feeds whole
	raw    io.Reader
	whole  hash.Hash
	chunk  []byte // what is left of the current one
	number int    // of it, from 1 on
	size   int64
	err    error
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	a := &Reader{raw: r, whole: sha256.New()}
	a.r = io.TeeReader(r, a.whole)
	first := make([]byte, len(Magic)+4)
	if _, err := io.ReadFull(a.r, first); err != nil {
		return nil, damaged("header", err)
	}
	if !bytes.Equal(first[:len(Magic)-1], []byte(Magic[:len(Magic)-1])) {
		return nil, fmt.Errorf("%w: it does not begin as an archive does", ErrDamaged)
	}
	if version := first[len(Magic)-1]; version != Magic[len(Magic)-1] {
		return nil, fmt.Errorf("the archive has version %d, this is for version %d: read it with the version of quorate that wrote it", version, Magic[len(Magic)-1])
	}
	size := binary.BigEndian.Uint32(first[len(Magic):])
	if size > maxHeaderBytes {
		return nil, fmt.Errorf("%w: a header of %d bytes", ErrDamaged, size)
	}
	head := make([]byte, size)
	if _, err := io.ReadFull(a.r, head); err != nil {
		return nil, damaged("header", err)
	}
	if err := json.Unmarshal(head, &a.Header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	return a, nil
}

// Read implements io.Reader.
func (a *Reader) Read(p []byte) (int, error) {
	for len(a.chunk) == 0 {
		if a.err == nil {
			a.err = a.next()
		}
		if a.err != nil {
			return 0, a.err
		}
	}
	n := copy(p, a.chunk)
	a.chunk = a.chunk[n:]
	return n, nil
}

// next reads a chunk; io.EOF means that the archive is whole.
func (a *Reader) next() error {
	a.number++
	var head [4 + sha256.Size]byte
	if _, err := io.ReadFull(a.r, head[:4]); err != nil {
		return damaged(fmt.Sprintf("chunk %d", a.number), err)
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size == 0 {
		return a.end()
	}
	if size > maxChunkBytes {
		return fmt.Errorf("%w: chunk %d has %d bytes", ErrDamaged, a.number, size)
	}
	chunk := make([]byte, size)
	if _, err := io.ReadFull(a.r, head[4:]); err != nil {
		return damaged(fmt.Sprintf("chunk %d", a.number), err)
	}
	if _, err := io.ReadFull(a.r, chunk); err != nil {
		return damaged(fmt.Sprintf("chunk %d", a.number), err)
	}
	if sum := sha256.Sum256(chunk); !bytes.Equal(sum[:], head[4:]) {
		return fmt.Errorf("%w: the checksum of chunk %d is wrong", ErrDamaged, a.number)
	}
	a.chunk, a.size = chunk, a.size+int64(size)
	return nil
}

func (a *Reader) end() error {
	want := a.whole.Sum(nil)
	var got [sha256.Size + 1]byte
	n, err := io.ReadFull(a.raw, got[:])
	switch {
	case n < sha256.Size:
		return damaged("end", err)
	case n > sha256.Size:
		return fmt.Errorf("%w: there is something behind its end", ErrDamaged)
	case !bytes.Equal(got[:n], want):
		return fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	return io.EOF
}

// Digest is the archive's SHA-256, and Size the content's bytes, once Read has
// returned io.EOF.
func (a *Reader) Digest() []byte { return a.whole.Sum(nil) }

// Size is how much content was read so far.
func (a *Reader) Size() int64 { return a.size }

func damaged(where string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it is cut off in its %s", ErrDamaged, where)
	}
	return fmt.Errorf("read the %s: %w", where, err)
}
