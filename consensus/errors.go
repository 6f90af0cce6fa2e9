package consensus

import "errors"

// What callers branch on. A REJECTED result carries one of the first group, an
// UNKNOWN one ErrLeadershipLost, ErrTimeout or ErrUnavailable.
var (
	ErrNotLeader       = errors.New("this replica does not lead the group")
	ErrTermMismatch    = errors.New("the group is in another term")
	ErrLeaderNotReady  = errors.New("the leader has not committed an entry of its term yet")
	ErrOutOfSequence   = errors.New("the proposal's sequence is not the next one")
	ErrOverloaded      = errors.New("too many proposals in flight")
	ErrTooLarge        = errors.New("the proposal is larger than the backend takes")
	ErrTransferPending = errors.New("a transfer of leadership is under way")

	ErrLeadershipLost = errors.New("leadership was lost before the proposal was decided")
	ErrTimeout        = errors.New("timed out")
	// ErrUnavailable means that the backend's process is not running or not
	// reachable; the host is restarting it.
	ErrUnavailable = errors.New("the consensus backend is not available")

	ErrGroupNotFound    = errors.New("no such group")
	ErrGroupExists      = errors.New("the group is open already")
	ErrGroupLimit       = errors.New("the backend takes no more groups")
	ErrAheadOfLog       = errors.New("the position is beyond the end of the log: the log has lost entries")
	ErrCompacted        = errors.New("the position was compacted away: read the snapshot first")
	ErrNoSnapshot       = errors.New("no snapshot")
	ErrSnapshotInvalid  = errors.New("the snapshot's size or checksum is wrong")
	ErrSnapshotStale    = errors.New("a newer snapshot is stored already")
	ErrConfigPending    = errors.New("another membership change is pending")
	ErrStaleConfig      = errors.New("the membership has changed since it was read")
	ErrNoQuorum         = errors.New("no quorum")
	ErrUnsupported      = errors.New("the backend does not offer this")
	ErrStorageFailed    = errors.New("the backend's storage failed")
	ErrDataDirLocked    = errors.New("another process holds the data directory")
	ErrDataIncompatible = errors.New("the data directory belongs to another backend, cluster or replica")
	ErrInvalidArgument  = errors.New("invalid argument")
	ErrShuttingDown     = errors.New("shutting down")
)

// Exit codes of a plugin process (rule L8). The broker exits with the same code
// if the plugin's failure is final.
const (
	ExitOK      = 0
	ExitBug     = 70
	ExitStorage = 74 // log or vote could not be written: the disk cannot be trusted
	ExitLocked  = 75 // another process holds the data directory
	ExitConfig  = 78 // bad settings, or data of another backend, cluster or replica
)
