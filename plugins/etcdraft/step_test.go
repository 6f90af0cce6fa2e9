package etcdraft

import (
	"encoding/binary"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

func TestMessagesThatRaftMustNotSee(t *testing.T) {
	message := func(kind raftpb.MessageType, term, index, commit, read uint64) *raftpb.Message {
		m := &raftpb.Message{Type: kind.Enum(), Term: new(term), Index: new(index), Commit: new(commit)}
		if read > 0 {
			m.Context = binary.LittleEndian.AppendUint64(nil, read)
		}
		return m
	}
	tests := []struct {
		name             string
		m                *raftpb.Message
		state            raft.StateType
		void, impossible bool
	}{
		{"confirmation that was asked for", message(raftpb.MsgHeartbeatResp, 5, 0, 0, 7), raft.StateLeader, false, false},
		{"confirmation beyond what was asked", message(raftpb.MsgHeartbeatResp, 5, 0, 0, 8), raft.StateLeader, true, false},
		{"confirmation of another term", message(raftpb.MsgHeartbeatResp, 4, 0, 0, 1), raft.StateLeader, true, false},
		{"plain heartbeat response", message(raftpb.MsgHeartbeatResp, 5, 0, 0, 0), raft.StateLeader, false, false},
		{"read request to the leader", message(raftpb.MsgReadIndex, 0, 0, 0, 0), raft.StateLeader, false, false},
		{"read request to a follower", message(raftpb.MsgReadIndex, 0, 0, 0, 0), raft.StateFollower, true, false},
		{"acknowledged to the end", message(raftpb.MsgAppResp, 5, 10, 0, 0), raft.StateLeader, false, false},
		{"acknowledged beyond the end", message(raftpb.MsgAppResp, 5, 11, 0, 0), raft.StateLeader, false, true},
		{"committed to the end", message(raftpb.MsgHeartbeat, 5, 0, 10, 0), raft.StateFollower, false, false},
		{"committed beyond the end", message(raftpb.MsgHeartbeat, 5, 0, 11, 0), raft.StateFollower, false, true},
		{"committed beyond the end in an old term", message(raftpb.MsgHeartbeat, 4, 0, 11, 0), raft.StateFollower, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := &group{lastIndex: 10, readTerm: 5, readCtx: 7, readyTerm: 5, readyIndex: 9}
			status := raft.BasicStatus{HardState: &raftpb.HardState{Term: new(uint64(5))}, SoftState: raft.SoftState{RaftState: tt.state}}
			if got := g.void(tt.m, status); got != tt.void {
				t.Errorf("void: %t, want %t", got, tt.void)
			}
			if got := g.impossible(tt.m, status); (got != "") != tt.impossible {
				t.Errorf("impossible: %q, want %t", got, tt.impossible)
			}
		})
	}
}
