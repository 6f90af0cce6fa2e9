package hashicorpraft

import (
	"testing"

	"github.com/hashicorp/raft"
)

func TestClampCommit(t *testing.T) {
	entries := func(indexes ...uint64) (out []*raft.Log) {
		for _, i := range indexes {
			out = append(out, &raft.Log{Index: i})
		}
		return out
	}
	tests := []struct {
		name string
		req  raft.AppendEntriesRequest
		want uint64
	}{
		{"a heartbeat", raft.AppendEntriesRequest{}, 0},
		{"no entries, more committed", raft.AppendEntriesRequest{PrevLogEntry: 12, LeaderCommitIndex: 13}, 12},
		{"no entries, all committed", raft.AppendEntriesRequest{PrevLogEntry: 13, LeaderCommitIndex: 13}, 13},
		{"entries up to below the commit index", raft.AppendEntriesRequest{PrevLogEntry: 10, Entries: entries(11, 12), LeaderCommitIndex: 20}, 12},
		{"entries beyond the commit index", raft.AppendEntriesRequest{PrevLogEntry: 10, Entries: entries(11, 12), LeaderCommitIndex: 9}, 9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clampCommit(&tt.req)
			if got := tt.req.LeaderCommitIndex; got != tt.want {
				t.Fatalf("got commit index %d, want %d", got, tt.want)
			}
		})
	}
}
