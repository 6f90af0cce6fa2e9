package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/consensus"
)

const (
	magic     = "QSNAPF01"
	fixedHead = len(magic) + 8 + 8 + 2
	maxFormat = 1 << 10 // bytes
)

var (
	little     = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func encodeHead(m consensus.SnapshotMeta) ([]byte, error) {
	if len(m.Format) > maxFormat {
		return nil, fmt.Errorf("%w: a format's name of %d bytes", consensus.ErrInvalidArgument, len(m.Format))
	}
	head := []byte(magic)
	head = little.AppendUint64(head, m.Index)
	head = little.AppendUint64(head, m.Term)
	head = little.AppendUint16(head, uint16(len(m.Format)))
	head = append(head, m.Format...)
	return little.AppendUint32(head, crc32.Checksum(head, castagnoli)), nil
}

// readHead returns the head's bytes as well.
func readHead(r io.Reader) (m consensus.SnapshotMeta, head []byte, err error) {
	head = make([]byte, fixedHead)
	if _, err := io.ReadFull(r, head); err != nil {
		return m, nil, fmt.Errorf("read its head: %w", err)
	}
	format := int(little.Uint16(head[fixedHead-2:]))
	if string(head[:len(magic)]) != magic || format > maxFormat {
		return m, nil, errors.New("it is no snapshot of this version")
	}
	head = append(head, make([]byte, format+4)...)
	if _, err := io.ReadFull(r, head[fixedHead:]); err != nil {
		return m, nil, fmt.Errorf("read its head: %w", err)
	}
	if end := len(head) - 4; crc32.Checksum(head[:end], castagnoli) != little.Uint32(head[end:]) {
		return m, nil, errors.New("the checksum of its head is wrong")
	}
	m.Index = little.Uint64(head[len(magic):])
	m.Term = little.Uint64(head[len(magic)+8:])
	m.Format = string(head[fixedHead : fixedHead+format])
	return m, head, nil
}

// reader reads the content of a file, and fails at its end if the checksum says
// that this is not what was written.
type reader struct {
	file    *os.File
	meta    consensus.SnapshotMeta
	content io.Reader // up to the checksum
	sum     hash.Hash
}

func openFile(path string) (*reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r := &reader{file: f, sum: sha256.New()}
	if err := r.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %w", filepath.Base(path), consensus.ErrSnapshotInvalid, err), f.Close())
	}
	return r, nil
}

func (r *reader) begin() error {
	var head []byte
	var err error
	if r.meta, head, err = readHead(r.file); err != nil {
		return err
	}
	if want := name(r.meta.Term, r.meta.Index); want != filepath.Base(r.file.Name()) {
		return fmt.Errorf("its head says that it is %s", want)
	}
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	size := info.Size() - int64(len(head)) - sha256.Size
	if size < 0 {
		return errors.New("it is cut off")
	}
	r.meta.Size = uint64(size)
	r.content = io.LimitReader(r.file, size)
	_, _ = r.sum.Write(head) // a hash does not fail
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	_, _ = r.sum.Write(p[:n]) // a hash does not fail
	if errors.Is(err, io.EOF) {
		err = r.verify()
	}
	return n, err
}

// verify returns io.EOF if the content is what was written.
func (r *reader) verify() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	want := make([]byte, sha256.Size)
	if _, err := r.file.ReadAt(want, info.Size()-sha256.Size); err != nil {
		return err
	}
	if !bytes.Equal(want, r.sum.Sum(nil)) {
		return fmt.Errorf("read snapshot %s: %w", filepath.Base(r.file.Name()), consensus.ErrSnapshotInvalid)
	}
	return io.EOF
}

func (r *reader) Close() error { return r.file.Close() }
