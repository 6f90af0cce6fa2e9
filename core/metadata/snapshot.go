package metadata

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"

	"github.com/quorate/quorate/consensus"
)

// SnapshotFormat is the format's name in consensus.SnapshotMeta.
const SnapshotFormat = "quorate.metadata.v1"

// A snapshot is
//
//	magic (8) | index (8) | term (8) | gate term (8) | gate sequence (8)
//	{ length (4) | encoded records } …
//	0 (4)
//
// in big endian, without anything behind. The magic's last byte is the version.
const (
	snapshotMagic      = "QUOMETA\x01"
	snapshotHeader     = len(snapshotMagic) + 4*8
	snapshotChunkBytes = 256 << 10 // aim of the writer; MaxBatchBytes binds the reader
)

// WriteSnapshot writes the image. It holds one chunk in memory at a time.
func (i *Image) WriteSnapshot(w io.Writer) error {
	header := append(make([]byte, 0, snapshotHeader), snapshotMagic...)
	for _, v := range []uint64{i.Index, i.Term, i.Gate.Term, i.Gate.Sequence} {
		header = binary.BigEndian.AppendUint64(header, v)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("write snapshot header: %w", err)
	}
	for chunk := range i.chunks() {
		if err := writeChunk(w, chunk); err != nil {
			return err
		}
	}
	if _, err := w.Write(make([]byte, 4)); err != nil {
		return fmt.Errorf("write snapshot end: %w", err)
	}
	return nil
}

// chunks yields the image's records in runs of about snapshotChunkBytes. A run is
// valid until the next one.
func (i *Image) chunks() iter.Seq[[]Record] {
	return func(yield func([]Record) bool) {
		var chunk []Record
		size := 0
		for _, rec := range i.Records() {
			n := EncodedSize(rec)
			if size+n > snapshotChunkBytes && len(chunk) > 0 {
				if !yield(chunk) {
					return
				}
				chunk, size = chunk[:0], 0
			}
			chunk, size = append(chunk, rec), size+n
		}
		if len(chunk) > 0 {
			yield(chunk)
		}
	}
}

// SameRecords reports whether two images hold the same metadata, wherever in
// their logs they stand.
func (i *Image) SameRecords(other *Image) bool {
	a, b := i.Records(), other.Records()
	return len(a) == len(b) && reflect.DeepEqual(a, b)
}

func writeChunk(w io.Writer, records []Record) error {
	data, err := EncodeRecords(records)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)); err != nil {
		return fmt.Errorf("write snapshot chunk: %w", err)
	}
	return nil
}

// ReadSnapshot reads what WriteSnapshot wrote, to the end of r. It never holds
// more than one chunk besides the image.
func ReadSnapshot(r io.Reader) (*Image, error) {
	in := bufio.NewReader(r)
	header := make([]byte, snapshotHeader)
	if _, err := io.ReadFull(in, header); err != nil {
		return nil, fmt.Errorf("read snapshot header: %w", err)
	}
	if magic := header[:len(snapshotMagic)]; string(magic) != snapshotMagic {
		return nil, fmt.Errorf("read snapshot: it begins with %q, want %q", magic, snapshotMagic)
	}
	d := NewDelta(Empty())
	for {
		records, err := readChunk(in)
		if err != nil {
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
		if records == nil {
			break
		}
		if err := d.ReplayAll(records); err != nil {
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read snapshot: expected its end: %w", cmp.Or(err, errTrailing))
	}
	field := func(n int) uint64 { return binary.BigEndian.Uint64(header[len(snapshotMagic)+8*n:]) }
	gate := consensus.Gate{Term: field(2), Sequence: field(3)}
	return d.Image(field(0), field(1), gate), nil
}

var errTrailing = errors.New("bytes behind it")

// readChunk returns the next records, or nil at the end mark.
func readChunk(r io.Reader) ([]Record, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("chunk length: %w", err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 {
		return nil, nil
	}
	if n > MaxBatchBytes {
		return nil, fmt.Errorf("chunk of %d bytes, the limit is %d", n, MaxBatchBytes)
	}
	var data bytes.Buffer // grows with what is there, not with what the length claims
	if _, err := io.CopyN(&data, r, int64(n)); err != nil {
		return nil, fmt.Errorf("chunk of %d bytes: %w", n, err)
	}
	records, err := DecodeRecords(data.Bytes())
	if err == nil && len(records) == 0 {
		err = errors.New("a chunk without records")
	}
	return records, err
}
