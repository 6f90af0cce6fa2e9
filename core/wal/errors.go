package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrOffsetOutOfRange says that the offset asked for lies before Start or after End.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrFencedEpoch says that the leader epoch of an append is older than the one the
	// log has seen: the caller is no longer the leader. Nothing was written.
	ErrFencedEpoch = errors.New("leader epoch is fenced")
	// ErrNotContiguous says that a follower's batches begin before the log's end, or overlap.
	// Nothing was written.
	ErrNotContiguous = errors.New("batches do not follow the end of the log")
	// ErrFailed says that the disk failed. It is final: the kernel may have dropped
	// what could not be written, so trying again would prove nothing.
	ErrFailed = errors.New("log has failed")
	// ErrClosed says that the log was closed or deleted.
	ErrClosed = errors.New("log is closed")
	// ErrTopicID says that the directory belongs to another topic of the same name.
	ErrTopicID = errors.New("directory belongs to another topic id")
)

// CorruptError says that a file of the log is damaged where a crash cannot have
// damaged it: what was there had been on stable storage. Nothing was changed.
type CorruptError struct {
	File   string // path
	Offset int64  // position of the damage in File, in bytes
	Reason string
}

// Error says what is damaged and how to go on.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s; if other replicas of the partition are alive, move its directory away and start again to have it copied from them, else restore the file from a backup", e.File, e.Offset, e.Reason)
}
