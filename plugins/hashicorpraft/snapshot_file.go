package hashicorpraft

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// A snapshot file:
//
//	magic (8), length of meta (4, little endian), meta as JSON, crc32c of meta (4)
//	content: length of format (2), format, what the host wrote, SHA-256 of the content before it
//
// The content is what travels to a follower, which checks it before use.
const snapshotMagic = "quohrs01"

const (
	maxMetaBytes   = 1 << 20
	maxFormatBytes = 256
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type fileMeta struct {
	Version            raft.SnapshotVersion
	Index, Term        uint64
	Configuration      []byte // raft.EncodeConfiguration
	ConfigurationIndex uint64
}

func (m fileMeta) encode() ([]byte, error) {
	meta, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	b := binary.LittleEndian.AppendUint32([]byte(snapshotMagic), uint32(len(meta)))
	return binary.LittleEndian.AppendUint32(append(b, meta...), crc32.Checksum(meta, castagnoli)), nil
}

// openFile opens a snapshot file for reading its content from the start.
func openFile(path string) (f *os.File, m raft.SnapshotMeta, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, m, err
	}
	m, err = readMeta(f)
	if err != nil {
		return nil, m, errors.Join(fmt.Errorf("%w: %s: %w", consensus.ErrSnapshotInvalid, filepath.Base(path), err), f.Close())
	}
	m.ID = filepath.Base(path)
	return f, m, nil
}

func readMeta(f *os.File) (m raft.SnapshotMeta, err error) {
	head := make([]byte, len(snapshotMagic)+4)
	if _, err := io.ReadFull(f, head); err != nil {
		return m, err
	}
	size := binary.LittleEndian.Uint32(head[len(snapshotMagic):])
	if string(head[:len(snapshotMagic)]) != snapshotMagic || size > maxMetaBytes {
		return m, errors.New("it is no snapshot of this version")
	}
	meta := make([]byte, size+4)
	if _, err := io.ReadFull(f, meta); err != nil {
		return m, err
	}
	if crc32.Checksum(meta[:size], castagnoli) != binary.LittleEndian.Uint32(meta[size:]) {
		return m, errors.New("the checksum of its head is wrong")
	}
	var fm fileMeta
	if err := json.Unmarshal(meta[:size], &fm); err != nil {
		return m, err
	}
	info, err := f.Stat()
	if err != nil {
		return m, err
	}
	return raft.SnapshotMeta{
		Version: fm.Version, Index: fm.Index, Term: fm.Term,
		Configuration: raft.DecodeConfiguration(fm.Configuration), ConfigurationIndex: fm.ConfigurationIndex,
		Size: info.Size() - int64(len(head)+len(meta)),
	}, nil
}

// contentWriter writes a content to w; finish ends it with its checksum.
type contentWriter struct {
	w   io.Writer
	sum hash.Hash
}

func newContentWriter(w io.Writer, format string) (*contentWriter, error) {
	if len(format) > maxFormatBytes {
		return nil, fmt.Errorf("%w: a format's name of %d bytes", consensus.ErrInvalidArgument, len(format))
	}
	c := &contentWriter{w: w, sum: sha256.New()}
	_, err := c.Write(append(binary.LittleEndian.AppendUint16(nil, uint16(len(format))), format...))
	return c, err
}

func (c *contentWriter) Write(p []byte) (int, error) {
	_, _ = c.sum.Write(p) // a hash does not fail
	return c.w.Write(p)
}

func (c *contentWriter) finish() error {
	_, err := c.w.Write(c.sum.Sum(nil))
	return err
}

// contentReader reads what the host wrote, and fails instead of ending if the
// checksum is wrong.
type contentReader struct {
	f      *os.File
	format string
	left   int64 // of what the host wrote
	sum    hash.Hash
}

// readContent begins to read the content of size bytes at f's position.
func readContent(f *os.File, size int64) (*contentReader, error) {
	c := &contentReader{f: f, sum: sha256.New()}
	var n [2]byte
	if _, err := io.ReadFull(f, n[:]); err != nil {
		return nil, err
	}
	format := make([]byte, binary.LittleEndian.Uint16(n[:]))
	c.left = size - int64(len(n)+len(format)) - sha256.Size
	if len(format) > maxFormatBytes || c.left < 0 {
		return nil, errors.New("it is too short")
	}
	if _, err := io.ReadFull(f, format); err != nil {
		return nil, err
	}
	_, _ = c.sum.Write(append(n[:], format...))
	c.format = string(format)
	return c, nil
}

func (c *contentReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, c.verify()
	}
	n, err := c.f.Read(p[:min(int64(len(p)), c.left)])
	_, _ = c.sum.Write(p[:n])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// verify returns io.EOF if the content is what was written.
func (c *contentReader) verify() error {
	pos, err := c.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	want := make([]byte, sha256.Size)
	if _, err := c.f.ReadAt(want, pos); err != nil {
		return err
	}
	if !bytes.Equal(want, c.sum.Sum(nil)) {
		return fmt.Errorf("%w: %s", consensus.ErrSnapshotInvalid, filepath.Base(c.f.Name()))
	}
	return io.EOF
}

func (c *contentReader) Close() error { return c.f.Close() }

// publish makes f's content durable and then visible as path.
func publish(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
