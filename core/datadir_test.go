package core_test

import (
	"os"
	"path/filepath"
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
		{"another cluster", core.Identity{ClusterID: "test", NodeID: 1, Backend: "etcd-raft"}, `belongs to cluster "prod", says meta.properties, but cluster/id is "test"`},
		{"another node", core.Identity{ClusterID: "prod", NodeID: 2, Backend: "etcd-raft"}, `belongs to node "1", says meta.properties, but node/id is "2"`},
		{"another backend", core.Identity{ClusterID: "prod", NodeID: 1, Backend: "hashicorp-raft"}, `belongs to backend "etcd-raft", says meta.properties, but consensus/backend is "hashicorp-raft"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			first, err := core.OpenDataDir(dir, mine)
			must(t, err)
			must(t, first.Close())
			if err := core.CheckDataDir(dir, tt.id); (err == nil) != (tt.want == "") {
				t.Errorf("check: got %v, want %q", err, tt.want)
			}
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
	if err := core.CheckDataDir(dir, id); err == nil || !strings.Contains(err.Error(), "in use by another quorate process") {
		t.Errorf("check: got %v, want an error that says it is in use", err)
	}
	if _, err := core.OpenDataDir(dir, id); err == nil || !strings.Contains(err.Error(), "in use by another quorate process") {
		t.Errorf("got %v, want an error that says it is in use", err)
	}
}

// Looking leaves nothing behind, whatever is there.
func TestCheckDataDirLeavesNoTrace(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 1, Backend: "solo"}
	dir := filepath.Join(t.TempDir(), "not", "yet")
	must(t, core.CheckDataDir(dir, id))
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was made", dir)
	}
	d, err := core.OpenDataDir(dir, id)
	must(t, err)
	must(t, d.Close())
	must(t, os.Remove(filepath.Join(dir, ".lock")))
	must(t, core.CheckDataDir(dir, id))
}

// Partitions without the metadata log that knows them would be removed as deleted.
func TestDataDirLostItsMetadata(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 1, Backend: "solo"}
	tests := []struct {
		name  string
		files []string
		owned bool // the directory is stamped
		want  bool // an error
	}{
		{"new", nil, false, false},
		{"owned and empty, as after a crash at the first start", nil, true, false},
		{"partitions and their metadata", []string{"orders-0/partition.metadata", "consensus/solo/META.json"}, true, false},
		{"partitions and an empty consensus directory", []string{"orders-0/partition.metadata", "consensus/other/META.json"}, true, true},
		{"partitions only", []string{"orders-0/partition.metadata"}, true, true},
		{"partitions of nobody", []string{"orders-0/partition.metadata"}, false, true},
		{"directories that are no partitions", []string{"lost+found/x", "run/x"}, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.owned {
				d, err := core.OpenDataDir(dir, id)
				must(t, err)
				must(t, d.Close())
			}
			for _, name := range tt.files {
				must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
				must(t, os.WriteFile(filepath.Join(dir, name), []byte("version: 0\ntopic_id: -wIDAAAAAAAAAAAAAAAAAA"), 0o600))
			}
			d, err := core.OpenDataDir(dir, id)
			if err == nil {
				must(t, d.Close())
			}
			if (err != nil) != tt.want || tt.want && !strings.Contains(err.Error(), "has partitions but no metadata log") {
				t.Errorf("open: got %v, want an error: %t", err, tt.want)
			}
			if err := core.CheckDataDir(dir, id); tt.owned && (err != nil) != tt.want {
				t.Errorf("check: got %v, want an error: %t", err, tt.want)
			}
		})
	}
}

// A command for a node that ran before makes nothing of a directory without an owner.
func TestOpenOwnDataDir(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 1, Backend: "solo"}
	dir := t.TempDir()
	if _, err := core.OpenOwnDataDir(dir, id); err == nil || !strings.Contains(err.Error(), "belongs to no node yet") {
		t.Errorf("got %v, want an error that says it belongs to no node", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v behind, %v", left, err)
	}
	made, err := core.OpenDataDir(dir, id)
	must(t, err)
	must(t, made.Close())
	own, err := core.OpenOwnDataDir(dir, id)
	must(t, err)
	must(t, own.Close())
}
