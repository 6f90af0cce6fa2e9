package wire

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// chunkBytes is how much of a snapshot goes into one message. The contract's
// bound is maxChunkBytes.
const (
	chunkBytes    = 512 << 10
	maxChunkBytes = 1 << 20
)

// SnapshotMetaToProto translates a snapshot's description.
func SnapshotMetaToProto(g consensus.GroupID, m consensus.SnapshotMeta) *consensuspb.SnapshotMeta {
	return &consensuspb.SnapshotMeta{GroupId: uint64(g), Index: m.Index, Term: m.Term, Format: m.Format, Size: m.Size}
}

// SnapshotMetaFromProto is the reverse of SnapshotMetaToProto.
func SnapshotMetaFromProto(p *consensuspb.SnapshotMeta) consensus.SnapshotMeta {
	return consensus.SnapshotMeta{Index: p.GetIndex(), Term: p.GetTerm(), Format: p.GetFormat(), Size: p.GetSize()}
}

// SendSnapshot sends header, chunks and trailer of what r yields. An error of r
// or of send is returned as it is; no trailer has been sent then.
func SendSnapshot(g consensus.GroupID, m consensus.SnapshotMeta, r io.Reader, send func(*consensuspb.SnapshotPart) error) error {
	header := SnapshotMetaToProto(g, m)
	if err := send(&consensuspb.SnapshotPart{Part: &consensuspb.SnapshotPart_Header{Header: header}}); err != nil {
		return err
	}
	sum, size := sha256.New(), uint64(0)
	for {
		chunk := make([]byte, chunkBytes)
		n, err := io.ReadFull(r, chunk)
		if n > 0 {
			sum.Write(chunk[:n])
			size += uint64(n)
			if err := send(&consensuspb.SnapshotPart{Part: &consensuspb.SnapshotPart_Chunk{Chunk: chunk[:n]}}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read snapshot: %w", err)
		}
	}
	trailer := SnapshotMetaToProto(g, m)
	trailer.Size, trailer.Sha256 = size, sum.Sum(nil)
	return send(&consensuspb.SnapshotPart{Part: &consensuspb.SnapshotPart_Trailer{Trailer: trailer}})
}

// SnapshotReader reads the content of a snapshot that arrives in parts. It keeps
// back the last chunk until the trailer has confirmed size and checksum, so that
// nobody ever holds a whole snapshot that is wrong. Not for concurrent use.
type SnapshotReader struct {
	recv   func() (*consensuspb.SnapshotPart, error)
	header *consensuspb.SnapshotMeta
	sum    hash.Hash
	size   uint64
	ready  []byte // may be handed out
	held   []byte // arrived, but what follows it is not known
	err    error  // ends the content: io.EOF once the trailer was right
}

// ReceiveSnapshot reads the header from recv, which returns io.EOF at the end of
// the stream, and returns the reader of the content.
func ReceiveSnapshot(recv func() (*consensuspb.SnapshotPart, error)) (*SnapshotReader, error) {
	part, err := recv()
	if err != nil {
		return nil, err
	}
	if part.GetHeader() == nil {
		return nil, fmt.Errorf("%w: the first part is not a header", consensus.ErrSnapshotInvalid)
	}
	return &SnapshotReader{recv: recv, header: part.GetHeader(), sum: sha256.New()}, nil
}

// Group returns the group that the header names.
func (r *SnapshotReader) Group() consensus.GroupID { return consensus.GroupID(r.header.GetGroupId()) }

// Meta returns the header. Size is 0 if the sender did not know it.
func (r *SnapshotReader) Meta() consensus.SnapshotMeta { return SnapshotMetaFromProto(r.header) }

// Read implements io.Reader. At io.EOF the content was complete and right;
// ErrSnapshotInvalid says that it was not.
func (r *SnapshotReader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.next()
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// next receives one part. A chunk lets the one before it go; the trailer, if it
// is right, the last one.
func (r *SnapshotReader) next() {
	part, err := r.recv()
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the stream ended before the trailer", consensus.ErrSnapshotInvalid)
	}
	if err != nil {
		r.err = err
		return
	}
	switch p := part.GetPart().(type) {
	case *consensuspb.SnapshotPart_Chunk:
		if len(p.Chunk) > maxChunkBytes {
			r.err = fmt.Errorf("%w: a chunk of %d bytes, at most %d are allowed", consensus.ErrSnapshotInvalid, len(p.Chunk), maxChunkBytes)
			return
		}
		r.sum.Write(p.Chunk)
		r.size += uint64(len(p.Chunk))
		r.ready, r.held = r.held, p.Chunk
	case *consensuspb.SnapshotPart_Trailer:
		if r.err = r.check(p.Trailer); r.err == nil {
			r.ready, r.held, r.err = r.held, nil, io.EOF
		}
	default:
		r.err = fmt.Errorf("%w: a part that is neither chunk nor trailer", consensus.ErrSnapshotInvalid)
	}
}

func (r *SnapshotReader) check(t *consensuspb.SnapshotMeta) error {
	want := r.header.GetSize()
	switch {
	case t.GetIndex() != r.header.GetIndex() || t.GetTerm() != r.header.GetTerm():
		return fmt.Errorf("%w: header and trailer name different positions", consensus.ErrSnapshotInvalid)
	case t.GetSize() != r.size || (want != 0 && want != r.size):
		return fmt.Errorf("%w: %d bytes arrived, header says %d, trailer %d", consensus.ErrSnapshotInvalid, r.size, want, t.GetSize())
	case !bytes.Equal(t.GetSha256(), r.sum.Sum(nil)):
		return fmt.Errorf("%w: the SHA-256 is wrong", consensus.ErrSnapshotInvalid)
	default:
		return nil
	}
}
