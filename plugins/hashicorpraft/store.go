package hashicorpraft

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/types"

	"github.com/quorate/quorate/consensus"
)

// wal is what this package uses of a log: raft-wal, or the segment log.
type wal interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// store is the log, the term and the vote, as the library sees them. It adds
// two things to what it is kept in.
//
// After a write that failed nobody knows what is on the disk, but the library
// makes the leader a follower and goes on. store ends the process instead
// (rule S2), and should that return, no write ever succeeds again.
//
// And it keeps every entry above the newest snapshot (rule S5), whatever the
// library asks to delete, and knows the snapshot's own position when the entry
// there is gone.
type store struct {
	wal   wal
	fatal func(error)

	failed  atomic.Pointer[error]
	writing atomic.Int64 // unix nanoseconds at which the write in progress began, or 0
	latency latency      // of writes, each of which is synced

	mu       sync.Mutex
	snapshot struct{ index, term uint64 }
	floor    uint64 // entries below it are no longer there, whatever the disk says
	members  configurations
	marked   bool // it is durable that this replica was a member; see wasMember
}

var _ raft.MonotonicLogStore = (*store)(nil)

// write runs f, which changes what is on the disk.
func (s *store) write(what string, f func() error) error {
	if failed := s.failed.Load(); failed != nil {
		return *failed
	}
	began := time.Now()
	s.writing.Store(began.UnixNano())
	err := f()
	s.writing.Store(0)
	now := time.Now()
	s.latency.observe(now.Sub(began), now)
	if err == nil {
		return nil
	}
	return s.fail(fmt.Errorf("%w: %s: %w", consensus.ErrStorageFailed, what, err))
}

// fail ends the process, unless err only says that the log was closed by a stop.
func (s *store) fail(err error) error {
	if errors.Is(err, types.ErrClosed) || errors.Is(err, consensus.ErrShuttingDown) {
		return fmt.Errorf("%w: %w", consensus.ErrShuttingDown, err)
	}
	s.failed.CompareAndSwap(nil, &err)
	s.fatal(err)
	return err
}

// IsMonotonic tells the library that indexes have no gaps.
func (s *store) IsMonotonic() bool { return true }

// FirstIndex implements raft.LogStore.
func (s *store) FirstIndex() (uint64, error) { return s.wal.FirstIndex() }

// LastIndex implements raft.LogStore.
func (s *store) LastIndex() (uint64, error) { return s.wal.LastIndex() }

// GetLog implements raft.LogStore. At the snapshot's position it knows the term
// without the entry: the library compares it with the leader's. raft-wal still
// finds entries that were deleted as long as their segment is there; here they
// are gone.
func (s *store) GetLog(index uint64, l *raft.Log) error {
	first, err := s.firstReadable()
	switch {
	case err == nil && index < first:
		err = raft.ErrLogNotFound
	case err == nil:
		err = s.wal.GetLog(index, l)
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, raft.ErrLogNotFound) {
		return s.fail(fmt.Errorf("%w: read entry %d: %w", consensus.ErrStorageFailed, index, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if index != s.snapshot.index || index == 0 {
		return err
	}
	*l = raft.Log{Index: index, Term: s.snapshot.term, Type: raft.LogNoop}
	return nil
}

// StoreLog implements raft.LogStore.
func (s *store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *store) StoreLogs(logs []*raft.Log) error {
	if err := s.write("append to the log", func() error { return s.wal.StoreLogs(logs) }); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members.append(logs)
	return nil
}

// DeleteRange implements raft.LogStore. The library calls it to cut off what
// conflicts with the leader, which is above the snapshot, and to clear the log
// after a snapshot was installed, which may not touch what is above it.
func (s *store) DeleteRange(from, to uint64) error {
	s.mu.Lock()
	at := s.snapshot.index
	s.mu.Unlock()
	if from <= at {
		to = min(to, at)
	}
	if from > to {
		return nil
	}
	if err := s.write("delete from the log", func() error { return s.wal.DeleteRange(from, to) }); err != nil {
		return err
	}
	if from > at {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.members.cut(from)
	}
	return nil
}

// Set implements raft.StableStore.
func (s *store) Set(key, value []byte) error {
	return s.write("write the vote", func() error { return s.wal.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (s *store) SetUint64(key []byte, value uint64) error {
	return s.write("write the term", func() error { return s.wal.SetUint64(key, value) })
}

// Get implements raft.StableStore.
func (s *store) Get(key []byte) ([]byte, error) { return s.wal.Get(key) }

// GetUint64 implements raft.StableStore.
func (s *store) GetUint64(key []byte) (uint64, error) { return s.wal.GetUint64(key) }

// install takes note of a durable snapshot that the leader sent, and hides the
// entries up to it at once: they may be of another history. The library then
// asks to delete the whole log. What is above the snapshot stays, because the
// library goes on believing that it is there, and compares it with the leader's.
//
// It returns false if there is a configuration in what stays: the library has
// just gone back to the snapshot's, and will not read it again.
func (s *store) install(index, term uint64, members configuration) (ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot.index, s.snapshot.term = index, term
	s.floor = index + 1
	s.members.start(members, index)
	return len(s.members) == 1
}

// cover takes note of a durable snapshot that is the host's, or was found at the
// start, and removes what can not stand beside it: a log that ends below it,
// since entries could not follow on, and entries up to it that are of another
// history. Both are left if the process ends in the middle of an installation.
func (s *store) cover(index, term uint64, members configuration) error {
	s.mu.Lock()
	s.snapshot.index, s.snapshot.term = index, term
	s.members.start(members, index)
	s.mu.Unlock()
	first, last, err := s.bounds()
	if err != nil || last == 0 {
		return err
	}
	if first > index+1 {
		return fmt.Errorf("%w: the log begins at %d, the newest snapshot is at %d", consensus.ErrStorageFailed, first, index)
	}
	if last < index {
		return s.DeleteRange(first, last)
	}
	if first > index {
		return nil
	}
	var l raft.Log
	if err := s.GetLog(index, &l); err != nil {
		return err
	}
	if l.Term != term {
		return s.DeleteRange(first, index)
	}
	return nil
}

// compact drops the entries up to and including to, but never the last one.
func (s *store) compact(to uint64) error {
	first, last, err := s.bounds()
	if err != nil || last == 0 {
		return err
	}
	return s.DeleteRange(first, min(to, last-1))
}

func (s *store) bounds() (first, last uint64, err error) {
	if first, err = s.wal.FirstIndex(); err != nil {
		return 0, 0, s.fail(fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err))
	}
	if last, err = s.wal.LastIndex(); err != nil {
		return 0, 0, s.fail(fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err))
	}
	return first, last, nil
}

// firstReadable is the lowest index that can be delivered.
func (s *store) firstReadable() (uint64, error) {
	first, last, err := s.bounds()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if last == 0 {
		return s.snapshot.index + 1, nil
	}
	return max(first, s.floor), nil
}

// ranged is a wal that reads many entries at once.
type ranged interface {
	// GetLogs returns entries from from to at most last, at least one, then up to
	// maxBytes. The data is shared with the log.
	GetLogs(from, last uint64, maxBytes int) ([]raft.Log, error)
}

// entries reads from to at most last, at least one, then up to maxBytes.
func (s *store) entries(from, last uint64, maxBytes int) ([]consensus.Entry, error) {
	if r, ok := s.wal.(ranged); ok {
		return readRange(r, from, last, maxBytes)
	}
	var entries []consensus.Entry
	for index := from; index <= last; index++ {
		var l raft.Log
		if err := s.wal.GetLog(index, &l); err != nil {
			if len(entries) > 0 {
				break // the next call learns why
			}
			return nil, fmt.Errorf("read entry %d: %w", index, err)
		}
		maxBytes -= len(l.Data)
		if len(entries) > 0 && maxBytes < 0 {
			break
		}
		entries = append(entries, hostEntry(&l))
	}
	return entries, nil
}

func readRange(r ranged, from, last uint64, maxBytes int) ([]consensus.Entry, error) {
	logs, err := r.GetLogs(from, last, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("read entries from %d: %w", from, err)
	}
	entries := make([]consensus.Entry, len(logs))
	for i := range logs {
		entries[i] = hostEntry(&logs[i])
	}
	return entries, nil
}

// hostEntry is an entry as the host gets it.
func hostEntry(l *raft.Log) consensus.Entry {
	e := consensus.Entry{Index: l.Index, Term: l.Term, Internal: l.Type != raft.LogCommand}
	if !e.Internal {
		e.Data = l.Data
	}
	return e
}

// recoverMembers reads the configurations that are in the log.
func (s *store) recoverMembers() error {
	first, last, err := s.bounds()
	if err != nil || last == 0 {
		return err
	}
	for index := max(first, s.snapshotIndex()+1); index <= last; index++ {
		var l raft.Log
		if err := s.GetLog(index, &l); err != nil {
			return err
		}
		s.mu.Lock()
		s.members.append([]*raft.Log{&l})
		s.mu.Unlock()
	}
	return nil
}

// configuration returns the newest configuration in the log, committed or not;
// its index is 0 if there is none.
func (s *store) configuration() configuration { return s.configurationAt(math.MaxUint64) }

// configurationAt returns the one in force at index, which is not below the
// newest snapshot.
func (s *store) configurationAt(index uint64) configuration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members.at(index)
}

func (s *store) snapshotIndex() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot.index
}
