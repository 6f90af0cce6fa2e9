package hashicorpraft

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// snapshots keeps the newest snapshot of the group: the host's, saved here, or
// one that the leader sent. The library only ever writes the second kind.
//
// A snapshot's index is always what the host says it has applied. The library
// would use what its own state machine has seen, which is further: entries
// would be missing in what is built from it.
type snapshots struct {
	dir       string
	installed func(raft.SnapshotMeta) // after a leader's was stored
	received  func()                  // while one comes in, which keeps the library's main loop

	saves, installs atomic.Uint64

	mu     sync.Mutex
	newest raft.SnapshotMeta // Index 0 = none
}

var _ raft.SnapshotStore = (*snapshots)(nil)

// openSnapshots recovers the newest snapshot in dir, checks it, and removes
// what is older or unfinished.
func openSnapshots(dir string) (*snapshots, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	garbage, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	if err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.snap")) // ascending
	if err != nil {
		return nil, err
	}
	if len(paths) > 1 {
		garbage = append(garbage, paths[:len(paths)-1]...)
	}
	for _, p := range garbage {
		if err := os.Remove(p); err != nil {
			return nil, err
		}
	}
	s := &snapshots{dir: dir, installed: func(raft.SnapshotMeta) {}, received: func() {}}
	if len(paths) == 0 {
		return s, nil
	}
	s.newest, err = verifyFile(paths[len(paths)-1])
	return s, err
}

// verifyFile reads a whole snapshot file and checks it.
func verifyFile(path string) (raft.SnapshotMeta, error) {
	f, m, err := openFile(path)
	if err != nil {
		return m, err
	}
	c, err := readContent(f, m.Size)
	if err == nil {
		_, err = io.Copy(io.Discard, c)
	}
	return m, errors.Join(err, f.Close())
}

func snapshotName(index, term uint64) string { return fmt.Sprintf("%020d-%020d.snap", index, term) }

// List implements raft.SnapshotStore.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest.Index == 0 {
		return nil, nil
	}
	m := s.newest
	return []*raft.SnapshotMeta{&m}, nil
}

// Open implements raft.SnapshotStore: the content as it travels. An open file
// outlives its replacement.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	f, m, err := openFile(filepath.Join(s.dir, filepath.Base(id)))
	if err != nil {
		return nil, nil, err
	}
	return &m, f, nil
}

// open opens what the host wrote into the newest snapshot.
func (s *snapshots) open() (consensus.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock() // so that the file is not replaced between its name and its opening
	defer s.mu.Unlock()
	if s.newest.Index == 0 {
		return consensus.SnapshotMeta{}, nil, consensus.ErrNoSnapshot
	}
	f, m, err := openFile(filepath.Join(s.dir, s.newest.ID))
	if err != nil {
		return consensus.SnapshotMeta{}, nil, err
	}
	c, err := readContent(f, m.Size)
	if err != nil {
		return consensus.SnapshotMeta{}, nil, errors.Join(fmt.Errorf("%w: %w", consensus.ErrSnapshotInvalid, err), f.Close())
	}
	return consensus.SnapshotMeta{Index: m.Index, Term: m.Term, Format: c.format, Size: uint64(c.left)}, c, nil
}

// save stores what the host wrote as the snapshot m.
func (s *snapshots) save(m fileMeta, format string, r io.Reader) error {
	k, err := s.create(m)
	if err != nil {
		return err
	}
	c, err := newContentWriter(k, format)
	if err == nil {
		_, err = io.Copy(c, r)
	}
	if err == nil {
		err = c.finish()
	}
	if err != nil {
		return errors.Join(err, k.Cancel())
	}
	if err := k.store(); err != nil {
		return err
	}
	s.saves.Add(1)
	return nil
}

// Create implements raft.SnapshotStore. The library calls it when a leader
// sends a snapshot, never for one of its own.
func (s *snapshots) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, cIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	return s.create(fileMeta{Version: v, Index: index, Term: term, Configuration: raft.EncodeConfiguration(c), ConfigurationIndex: cIndex})
}

func (s *snapshots) create(m fileMeta) (*sink, error) {
	head, err := m.encode()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.dir, "*.tmp")
	if err != nil {
		return nil, err
	}
	k := &sink{s: s, f: f, meta: m}
	if _, err := f.Write(head); err != nil {
		return nil, errors.Join(err, k.Cancel())
	}
	return k, nil
}

// sink is a snapshot that is being written.
type sink struct {
	s    *snapshots
	f    *os.File
	meta fileMeta
	done bool
}

var _ raft.SnapshotSink = (*sink)(nil)

// ID implements raft.SnapshotSink.
func (k *sink) ID() string { return snapshotName(k.meta.Index, k.meta.Term) }

// Write implements raft.SnapshotSink.
func (k *sink) Write(p []byte) (int, error) {
	k.s.received()
	return k.f.Write(p)
}

// Cancel implements raft.SnapshotSink: nothing of it remains.
func (k *sink) Cancel() error {
	if k.done {
		return nil
	}
	k.done = true
	return errors.Join(k.f.Close(), os.Remove(k.f.Name()))
}

// Close implements raft.SnapshotSink: it stores a snapshot that a leader sent,
// if it is whole, and tells the group before the library goes on.
func (k *sink) Close() error {
	if k.done {
		return nil
	}
	if _, err := verifyFile(k.f.Name()); err != nil {
		return errors.Join(fmt.Errorf("a leader's snapshot: %w", err), k.Cancel())
	}
	if err := k.store(); err != nil {
		return err
	}
	k.s.installs.Add(1)
	k.s.installed(k.s.current())
	return nil
}

// store makes the snapshot durable and the newest.
func (k *sink) store() error {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.meta.Index < s.newest.Index || k.meta.Index == s.newest.Index && k.meta.Term != s.newest.Term {
		return errors.Join(fmt.Errorf("snapshot at %d: %w, at %d", k.meta.Index, consensus.ErrSnapshotStale, s.newest.Index), k.Cancel())
	}
	old := s.newest
	path := filepath.Join(s.dir, k.ID())
	if err := publish(k.f, path); err != nil {
		return errors.Join(err, k.Cancel())
	}
	k.done = true
	if err := k.f.Close(); err != nil {
		return err
	}
	f, m, err := openFile(path)
	if err != nil {
		return err
	}
	s.newest = m
	if err := f.Close(); err != nil || old.Index == 0 || old.ID == m.ID {
		return err
	}
	return os.Remove(filepath.Join(s.dir, old.ID))
}

// current returns the newest snapshot's meta; its Index is 0 if there is none.
func (s *snapshots) current() raft.SnapshotMeta {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}
