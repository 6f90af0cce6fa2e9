package consensus

import (
	"encoding/json"
	"io"
	"strings"
)

// Salvager is a Backend that can read what the disk of a stopped replica still
// holds, without its peers. It is how a cluster is recovered whose majority is
// lost for ever. It is called on a Backend that was not started.
type Salvager interface {
	// Salvage opens what dir, the DataDir of a replica that is not running, holds
	// of a group. It may change dir as a start would, so callers give it a copy.
	// The error is ErrGroupNotFound if there is nothing of the group.
	Salvage(dir string, options json.RawMessage, g GroupID) (Remains, error)
}

// Remains are what one replica has of a group. They belong to one goroutine.
type Remains interface {
	Extent() Extent
	// Snapshot opens the newest snapshot, or returns ErrNoSnapshot.
	Snapshot() (SnapshotMeta, io.ReadCloser, error)
	// Read returns entries from index from on, at least one, whether they are known
	// to be committed or not; none behind the last one.
	Read(from uint64) ([]Entry, error)
	Close() error
}

// Extent is how far a replica's log goes.
type Extent struct {
	Term                uint64 // the highest that the replica has heard of
	LastIndex, LastTerm uint64 // of the last entry, or of the snapshot if that is newer
	// Committed is the highest index that the replica's disk knows to be committed,
	// which may be far below what was. Not every backend writes it down: then it is
	// that of the snapshot.
	Committed     uint64
	SnapshotIndex uint64 // 0 = none
}

// incarnationMark stands between a cluster's name and its incarnation.
const incarnationMark = "#"

// ClusterIncarnation is the cluster id that the replicas of a recovered cluster are
// started with. Those of another incarnation are strangers to them: whatever comes
// back of the lost majority can never take part again.
func ClusterIncarnation(cluster, incarnation string) string {
	if incarnation == "" {
		return cluster
	}
	return cluster + incarnationMark + incarnation
}

// ClusterName is the cluster's name, as certificates have it, in the id that a
// replica is started with.
func ClusterName(id string) string {
	if i := strings.LastIndex(id, incarnationMark); i > 0 {
		return id[:i]
	}
	return id
}
