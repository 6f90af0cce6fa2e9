package hashicorpraft

import (
	"fmt"

	"github.com/quorate/quorate/consensus"
)

// memberKey is where the store remembers, beside the library's term and vote, that
// this replica was a member once. Whether one that is no member was removed, or waits
// to be added, does not follow from the newest configuration: who joins by snapshot is
// sent the members of the snapshot's position, which is before its own addition.
var memberKey = []byte("QuorateMember")

// wasMember tells whether this replica is, or ever was, in a configuration of its
// log, and remembers it. A log that is compacted no longer says so.
func (s *store) wasMember(replica uint64) bool {
	s.mu.Lock()
	known := s.marked
	found := known
	for _, c := range s.members {
		if _, in := serverOf(c.Configuration, replica); in {
			found = true
		}
	}
	s.mu.Unlock()
	if found && !known {
		s.mark()
	}
	return found
}

// mark makes it durable that this replica was a member. Should that fail, the process
// is about to end.
func (s *store) mark() {
	if s.failed.Load() != nil {
		return
	}
	if err := s.wal.SetUint64(memberKey, 1); err != nil {
		_ = s.fail(fmt.Errorf("%w: write that this is a member: %w", consensus.ErrStorageFailed, err)) // it is told by all that follows
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked = true
}

// recoverMark reads what mark wrote.
func (s *store) recoverMark() error {
	value, err := s.wal.GetUint64(memberKey)
	if err != nil && !isMissingKey(err) {
		return fmt.Errorf("%w: read whether this was a member: %w", consensus.ErrStorageFailed, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked = value != 0
	return nil
}

// isMissingKey knows the error that stores of the library have for a key that was
// never set: the library itself goes by the text.
func isMissingKey(err error) bool { return err.Error() == "not found" }
