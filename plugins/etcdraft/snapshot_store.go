package etcdraft

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// snapshotStore keeps the snapshot files of one group: <term>-<index>.snap,
// whose content is the host's bytes. A file counts only if the log's mark names
// it; size and checksum are in the mark.
type snapshotStore struct{ dir string }

const (
	snapshotSuffix = ".snap"
	tempSuffix     = ".tmp"
)

func snapshotName(term, index uint64) string {
	return fmt.Sprintf("%016x-%016x%s", term, index, snapshotSuffix)
}

func (s snapshotStore) path(term, index uint64) string {
	return filepath.Join(s.dir, snapshotName(term, index))
}

// write stores what r yields in a temporary file, synced. The caller commits or
// removes it.
func (s snapshotStore) write(ctx context.Context, r io.Reader) (*tempSnapshot, error) {
	f, err := os.CreateTemp(s.dir, "*"+tempSuffix)
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	t := &tempSnapshot{store: s, path: f.Name()}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(f, sum), contextReader{ctx, r})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("write snapshot: %w", err), t.remove())
	}
	t.size, t.sum = uint64(size), sum.Sum(nil)
	return t, nil
}

type tempSnapshot struct {
	store snapshotStore
	path  string
	size  uint64
	sum   []byte
}

func (t *tempSnapshot) remove() error {
	if err := os.Remove(t.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// commit gives the file its name, durably.
func (t *tempSnapshot) commit(term, index uint64) error {
	if err := os.Rename(t.path, t.store.path(term, index)); err != nil {
		return err
	}
	return seglog.OS().SyncDir(t.store.dir)
}

// removeBelow removes the snapshots before index. Those behind it stay: one may
// be about to be installed. What is open for reading stays readable.
func (s snapshotStore) removeBelow(index uint64) error {
	return s.remove(func(_, i uint64) bool { return i < index })
}

// removeOthers removes every snapshot but the one that the mark names.
func (s snapshotStore) removeOthers(term, index uint64) error {
	return s.remove(func(t, i uint64) bool { return t != term || i != index })
}

func (s snapshotStore) remove(unwanted func(term, index uint64) bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	var errs []error
	for _, e := range entries {
		var term, index uint64
		if n, err := fmt.Sscanf(e.Name(), "%016x-%016x.snap", &term, &index); n != 2 || err != nil {
			continue
		}
		if e.Name() == snapshotName(term, index) && unwanted(term, index) {
			errs = append(errs, os.Remove(filepath.Join(s.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// cleanTemporary removes what was being written when the process ended.
func (s snapshotStore) cleanTemporary() error {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*"+tempSuffix))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// open opens the snapshot that the mark names. The reader verifies it.
func (s snapshotStore) open(term, index uint64, meta snapshotMeta) (io.ReadCloser, error) {
	f, err := os.Open(s.path(term, index))
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	return &verifiedReader{file: f, sum: sha256.New(), meta: meta}, nil
}

// verifiedReader fails at the end of the file unless size and checksum are right.
type verifiedReader struct {
	file *os.File
	sum  hash.Hash
	read uint64
	meta snapshotMeta
}

func (r *verifiedReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	_, _ = r.sum.Write(p[:n]) // never fails
	r.read += uint64(n)
	if errors.Is(err, io.EOF) && (r.read != r.meta.Size || !bytes.Equal(r.sum.Sum(nil), r.meta.SHA256)) {
		return n, fmt.Errorf("read snapshot %s: %w: %d bytes of %d", filepath.Base(r.file.Name()), consensus.ErrSnapshotInvalid, r.read, r.meta.Size)
	}
	return n, err
}

func (r *verifiedReader) Close() error { return r.file.Close() }

// contextReader ends with ctx between two reads.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
