package solo

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/consensus"
)

// A snapshot file: length of the meta (4, little endian), the SnapshotMeta as
// JSON, the content, SHA-256 over all of it.

func writeSnapshot(dir string, m consensus.SnapshotMeta, r io.Reader) (err error) {
	path := snapshotPath(dir, m.Index)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	meta, err := json.Marshal(m)
	if err != nil {
		return err
	}
	sum := sha256.New()
	w := io.MultiWriter(f, sum)
	if _, err := w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(meta))), meta...)); err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if _, err := f.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return publish(f, path)
}

func snapshotPath(dir string, index uint64) string {
	return filepath.Join(dir, fmt.Sprintf("snapshot-%020d", index))
}

// newestSnapshot returns the newest snapshot in dir, ok false if there is none.
// It removes what is older or unfinished, and checks the one it returns.
func newestSnapshot(dir string) (m consensus.SnapshotMeta, ok bool, err error) {
	unfinished, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	if err != nil {
		return m, false, err
	}
	paths, err := filepath.Glob(filepath.Join(dir, "snapshot-*[0-9]")) // ascending
	if err != nil {
		return m, false, err
	}
	if len(paths) > 1 {
		unfinished = append(unfinished, paths[:len(paths)-1]...)
	}
	for _, p := range unfinished {
		if err := os.Remove(p); err != nil {
			return m, false, err
		}
	}
	if len(paths) == 0 {
		return m, false, nil
	}
	m, r, err := openSnapshot(paths[len(paths)-1])
	if err != nil {
		return m, false, err
	}
	_, err = io.Copy(io.Discard, r)
	return m, true, errors.Join(err, r.Close())
}

// openSnapshot opens a snapshot. Reading fails instead of ending if the checksum is wrong.
func openSnapshot(path string) (m consensus.SnapshotMeta, r io.ReadCloser, err error) {
	f, err := os.Open(path)
	if err != nil {
		return m, nil, err
	}
	fail := func(err error) (consensus.SnapshotMeta, io.ReadCloser, error) {
		return m, nil, errors.Join(fmt.Errorf("%w: %s: %w", consensus.ErrSnapshotInvalid, path, err), f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(f, size[:]); err != nil {
		return fail(err)
	}
	metaLen := int64(binary.LittleEndian.Uint32(size[:]))
	content := info.Size() - 4 - metaLen - sha256.Size
	if content < 0 {
		return fail(errors.New("it is too short"))
	}
	meta := make([]byte, metaLen)
	if _, err := io.ReadFull(f, meta); err != nil {
		return fail(err)
	}
	if err := json.Unmarshal(meta, &m); err != nil {
		return fail(err)
	}
	m.Size = uint64(content)
	sum := sha256.New()
	_, _ = sum.Write(size[:]) // a hash does not fail
	_, _ = sum.Write(meta)
	return m, &snapshotReader{f: f, left: content, sum: sum}, nil
}

type snapshotReader struct {
	f    *os.File
	left int64
	sum  hash.Hash
}

func (r *snapshotReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, r.verify()
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	_, _ = r.sum.Write(p[:n])
	r.left -= int64(n)
	return n, err
}

// verify returns io.EOF if the file's checksum is right.
func (r *snapshotReader) verify() error {
	want := make([]byte, sha256.Size)
	if _, err := r.f.ReadAt(want, r.offset()); err != nil {
		return err
	}
	if !bytes.Equal(want, r.sum.Sum(nil)) {
		return fmt.Errorf("%w: %s", consensus.ErrSnapshotInvalid, r.f.Name())
	}
	return io.EOF
}

func (r *snapshotReader) offset() int64 {
	off, err := r.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0 // ReadAt then reads what is not the checksum
	}
	return off
}

func (r *snapshotReader) Close() error { return r.f.Close() }
