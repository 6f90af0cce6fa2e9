package core_test

import (
	"strings"
	"testing"

	"github.com/quorate/quorate/core"
)

func TestDataDir(t *testing.T) {
	mine := core.Identity{ClusterID: "prod", NodeID: 1, Backend: "etcd-raft"}
	tests := []struct {
		name string
		id   core.Identity
		want string // in the error; empty: none
	}{
		{"the same node again", mine, ""},
		{"another cluster", core.Identity{ClusterID: "test", NodeID: 1, Backend: "etcd-raft"}, `belongs to cluster.id "prod", but cluster/id is "test"`},
		{"another node", core.Identity{ClusterID: "prod", NodeID: 2, Backend: "etcd-raft"}, `belongs to node.id "1", but node/id is "2"`},
		{"another backend", core.Identity{ClusterID: "prod", NodeID: 1, Backend: "hashicorp-raft"}, `belongs to quorate.backend "etcd-raft", but consensus/backend is "hashicorp-raft"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			first, err := core.OpenDataDir(dir, mine)
			must(t, err)
			must(t, first.Close())
			again, err := core.OpenDataDir(dir, tt.id)
			if tt.want == "" {
				must(t, err)
				must(t, again.Close())
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestDataDirInUse(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 1, Backend: "solo"}
	dir := t.TempDir()
	held, err := core.OpenDataDir(dir, id)
	must(t, err)
	defer held.Close()
	if _, err := core.OpenDataDir(dir, id); err == nil || !strings.Contains(err.Error(), "in use by another quorate process") {
		t.Errorf("got %v, want an error that says it is in use", err)
	}
}
