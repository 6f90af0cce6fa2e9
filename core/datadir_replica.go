package core

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/protocol"
)

// The keys of metaFile that tell which replica of the metadata log the directory
// has. directory.id is Kafka's, and says the same in Kafka's way.
const (
	replicaIDKey     = "quorate.replica.id"
	replicaOriginKey = "quorate.replica.origin"
	replicaStateKey  = "quorate.replica.state"
	directoryKey     = "directory.id"
)

// Replica is the replica of the metadata log whose data a directory has. Its id
// names the disk: a node that lost it comes back with another one (rule M1).
type Replica struct {
	ID     uint64 // 0: not decided yet
	Origin ReplicaOrigin
	State  ReplicaState
}

// ReplicaOrigin is how a replica came into the cluster.
type ReplicaOrigin string

// The origins.
const (
	Bootstrapped ReplicaOrigin = "bootstrap" // with the cluster; its id is the node's
	Joined       ReplicaOrigin = "join"      // later; its id was given to it
)

// ReplicaState is how far a replica has come.
type ReplicaState string

// The states, in their order. Up to Added the log may be missing; from then on it
// must be there.
const (
	ReplicaNew     ReplicaState = "new"     // begins with the cluster
	ReplicaAdded   ReplicaState = "added"   // the cluster expects it, as a learner
	ReplicaLearner ReplicaState = "learner" // has begun its log; asks to be promoted
	ReplicaSettled ReplicaState = "settled"
)

// OpenMode is how the log of a replica is opened.
func (r Replica) OpenMode() consensus.OpenMode {
	switch r.State {
	case ReplicaNew:
		return consensus.OpenBootstrap
	case ReplicaAdded:
		return consensus.OpenJoin
	default:
		return consensus.OpenRecover
	}
}

// Opened is r after its log was opened.
func (r Replica) Opened() Replica {
	switch r.State {
	case ReplicaNew:
		r.State = ReplicaSettled
	case ReplicaAdded:
		r.State = ReplicaLearner
	}
	return r
}

// ReplicaOf returns the replica that a data directory has, without claiming it. In a
// directory of a time before replicas were noted it is the node's own. The id is 0
// if none was begun.
func ReplicaOf(path string, id Identity) (Replica, error) {
	found, err := readProperties(filepath.Join(path, metaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Replica{}, nil
	}
	if err != nil {
		return Replica{}, unusable(path, err)
	}
	if text := found[replicaIDKey]; text != "" {
		number, err := strconv.ParseUint(text, 10, 64)
		r := Replica{ID: number, Origin: ReplicaOrigin(found[replicaOriginKey]), State: ReplicaState(found[replicaStateKey])}
		if err != nil || !r.valid() {
			return Replica{}, fmt.Errorf("%s in data directory %s is damaged: it has %s=%s, %s=%s, %s=%s", metaFile, path,
				replicaIDKey, text, replicaOriginKey, r.Origin, replicaStateKey, r.State)
		}
		return r, nil
	}
	kept, err := os.ReadDir(filepath.Join(path, "consensus", cmp.Or(found["quorate.backend"], id.Backend)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Replica{}, unusable(path, err)
	}
	if len(kept) == 0 {
		return Replica{}, nil
	}
	return Replica{ID: uint64(id.NodeID), Origin: Bootstrapped, State: ReplicaNew}, nil
}

func (r Replica) valid() bool {
	origin := r.Origin == Bootstrapped || r.Origin == Joined
	state := r.State == ReplicaNew || r.State == ReplicaAdded || r.State == ReplicaLearner || r.State == ReplicaSettled
	return r.ID != 0 && origin && state
}

// SetReplica notes the replica, durably.
func (d *DataDir) SetReplica(id Identity, r Replica) error {
	if !r.valid() {
		return fmt.Errorf("no possible replica: %+v", r)
	}
	return d.stampWith(id, r)
}

// properties are r as metaFile has it; none if it is not decided.
func (r Replica) properties() string {
	if r.ID == 0 {
		return ""
	}
	directory := protocol.DirectoryID(r.ID)
	return fmt.Sprintf("%s=%d\n%s=%s\n%s=%s\n%s=%s\n", replicaIDKey, r.ID, replicaOriginKey, r.Origin, replicaStateKey, r.State,
		directoryKey, base64.RawURLEncoding.EncodeToString(directory[:]))
}

// CheckJoin refuses a data directory that is older than the wish to join a cluster
// with it. One that has joined, or is about to, is fine.
func CheckJoin(path string, id Identity) error {
	r, err := ReplicaOf(path, id)
	if err != nil || r.Origin != Bootstrapped {
		return err
	}
	return fmt.Errorf("data directory %s belongs to a cluster that this node has begun with others, as replica %d, but cluster/join is true: set it to false to go on with that data; or start with an empty data directory to join", path, r.ID)
}
