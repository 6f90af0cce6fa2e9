package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/quorate/quorate/consensus"
)

const (
	suffix      = ".snap"
	draftSuffix = ".tmp"
)

// Store keeps the newest snapshot of one group, in a folder that may hold other
// files too. All methods may be called concurrently.
type Store struct {
	dir string

	saving sync.Mutex // one Save at a time
	mu     sync.Mutex // held while a file is renamed or opened, never while one is written
	newest consensus.SnapshotMeta
}

// OpenStore recovers the store in dir, which it makes if it is not there; its
// parent must exist. An error wraps consensus.ErrStorageFailed.
func OpenStore(dir string) (*Store, error) {
	s := &Store{dir: dir}
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("%w: snapshots in %s: %w", consensus.ErrStorageFailed, dir, err)
	}
	return s, nil
}

func (s *Store) recover() error {
	err := os.Mkdir(s.dir, 0o700)
	if err == nil || errors.Is(err, os.ErrExist) {
		err = syncDir(filepath.Dir(s.dir)) // also what a crash has kept from being synced
	}
	if err != nil {
		return err
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), draftSuffix) {
			if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
				return err
			}
		}
		if term, index, ok := parseName(f.Name()); ok && index > s.newest.Index {
			s.newest = consensus.SnapshotMeta{Index: index, Term: term}
		}
	}
	if s.newest.Index != 0 {
		r, err := openFile(s.path(s.newest))
		if err != nil {
			return err
		}
		s.newest = r.meta
		if err := r.Close(); err != nil {
			return err
		}
	}
	return s.removeOthers()
}

// Newest describes the newest snapshot; Index 0 means that there is none.
func (s *Store) Newest() consensus.SnapshotMeta {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// Open opens the newest snapshot, or returns consensus.ErrNoSnapshot. It stays
// readable when a newer one replaces it. Instead of ending, the reader fails with
// consensus.ErrSnapshotInvalid if the content is not what was stored.
func (s *Store) Open() (consensus.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest.Index == 0 {
		return s.newest, nil, consensus.ErrNoSnapshot
	}
	r, err := openFile(s.path(s.newest))
	if err != nil {
		return s.newest, nil, fmt.Errorf("open snapshot: %w", err)
	}
	return s.newest, r, nil
}

// Save stores what r yields as the newest snapshot, durably; m.Size is not looked
// at. An error has changed nothing: half a stream, or a full disk, costs this
// snapshot and no more. consensus.ErrSnapshotStale means that the newest one is as
// new. The caller has checked that m speaks of its log.
func (s *Store) Save(ctx context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if err := s.save(ctx, m, r); err != nil {
		return fmt.Errorf("save snapshot at %d: %w", m.Index, err)
	}
	if err := s.removeOthers(); err != nil { // the next one tries again
		slog.Warn("an old snapshot could not be removed", "error", err)
	}
	return nil
}

func (s *Store) save(ctx context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	if newest := s.Newest().Index; m.Index <= newest {
		return fmt.Errorf("%w, at %d", consensus.ErrSnapshotStale, newest)
	}
	draft, err := os.CreateTemp(s.dir, "*"+draftSuffix)
	if err != nil {
		return err
	}
	m.Size, err = write(draft, m, contextReader{ctx, r})
	if err == nil {
		err = draft.Sync()
	}
	if err = errors.Join(err, draft.Close()); err == nil {
		err = s.publish(draft.Name(), m)
	}
	if err != nil {
		if removed := os.Remove(draft.Name()); !errors.Is(removed, os.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

// publish gives a draft its name and makes that durable. If the folder cannot be
// synced the file is there all the same, and complete; it counts after a restart.
func (s *Store) publish(draft string, m consensus.SnapshotMeta) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Rename(draft, s.path(m)); err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return err
	}
	s.newest = m
	return nil
}

func (s *Store) removeOthers() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	newest := s.Newest()
	var errs []error
	for _, f := range files {
		if _, index, ok := parseName(f.Name()); ok && index < newest.Index {
			errs = append(errs, os.Remove(filepath.Join(s.dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) path(m consensus.SnapshotMeta) string {
	return filepath.Join(s.dir, name(m.Term, m.Index))
}

func name(term, index uint64) string { return fmt.Sprintf("%016x-%016x%s", term, index, suffix) }

func parseName(file string) (term, index uint64, ok bool) {
	n, err := fmt.Sscanf(file, "%016x-%016x"+suffix, &term, &index)
	return term, index, n == 2 && err == nil && file == name(term, index)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

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

// write writes the file of a snapshot, and returns the size of its content.
func write(w io.Writer, m consensus.SnapshotMeta, r io.Reader) (uint64, error) {
	head, err := encodeHead(m)
	if err != nil {
		return 0, err
	}
	sum := sha256.New()
	both := io.MultiWriter(w, sum)
	if _, err := both.Write(head); err != nil {
		return 0, err
	}
	size, err := io.Copy(both, r)
	if err != nil {
		return 0, err
	}
	_, err = w.Write(sum.Sum(nil))
	return uint64(size), err
}
