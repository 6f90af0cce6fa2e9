package core_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core"
)

// What a data directory has, how its log is opened, and whether the node may join
// with it.
func TestReplicaOf(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 3, Backend: "etcd-raft"}
	joined := core.Replica{ID: 7, Origin: core.Joined, State: core.ReplicaAdded}
	first := core.Replica{ID: 3, Origin: core.Bootstrapped, State: core.ReplicaNew}
	tests := []struct {
		name    string
		set     []core.Replica
		oldLog  bool // there is a log, of a time before replicas were noted
		want    core.Replica
		mode    consensus.OpenMode
		mayJoin bool
	}{
		{name: "undecided", mode: consensus.OpenRecover, mayJoin: true},
		{name: "begins with the cluster", set: []core.Replica{first}, want: first, mode: consensus.OpenBootstrap},
		{name: "has begun", set: []core.Replica{first, first.Opened()}, want: core.Replica{ID: 3, Origin: core.Bootstrapped, State: core.ReplicaSettled}, mode: consensus.OpenRecover},
		{name: "of an older version", oldLog: true, want: first, mode: consensus.OpenBootstrap},
		{name: "is expected", set: []core.Replica{joined}, want: joined, mode: consensus.OpenJoin, mayJoin: true},
		{name: "has joined", set: []core.Replica{joined, joined.Opened()}, want: core.Replica{ID: 7, Origin: core.Joined, State: core.ReplicaLearner}, mode: consensus.OpenRecover, mayJoin: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			d, err := core.OpenDataDir(dir, id)
			must(t, err)
			if tt.oldLog {
				must(t, os.MkdirAll(filepath.Join(dir, "consensus", "etcd-raft", "log"), 0o700))
			}
			for _, r := range tt.set {
				must(t, d.SetReplica(id, r))
			}
			must(t, d.Close())
			again, err := core.OpenDataDir(dir, id) // keeps it
			must(t, err)
			must(t, again.Close())
			got, err := core.ReplicaOf(dir, id)
			must(t, err)
			if got != tt.want || got.OpenMode() != tt.mode {
				t.Errorf("got %+v, mode %d, want %+v, %d", got, got.OpenMode(), tt.want, tt.mode)
			}
			err = core.CheckJoin(dir, id)
			if (err == nil) != tt.mayJoin || err != nil && !strings.Contains(err.Error(), "as replica 3, but cluster/join is true") {
				t.Errorf("join: got %v, want an error: %t", err, !tt.mayJoin)
			}
		})
	}
}

func TestReplicaOfDamaged(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 3, Backend: "solo"}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "meta.properties"), []byte("quorate.replica.id=7\nquorate.replica.origin=join\nquorate.replica.state=\n"), 0o600))
	if r, err := core.ReplicaOf(dir, id); err == nil {
		t.Errorf("got %+v, want an error", r)
	}
	d, err := core.OpenDataDir(t.TempDir(), id)
	must(t, err)
	defer d.Close()
	if err := d.SetReplica(id, core.Replica{ID: 0, Origin: core.Joined, State: core.ReplicaAdded}); err == nil {
		t.Error("replica 0 is noted")
	}
}
