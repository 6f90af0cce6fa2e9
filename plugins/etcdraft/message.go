package etcdraft

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// maxTerm and maxIndex are beyond what a cluster reaches, and far enough from
// the end of uint64 for raft to add to.
const (
	maxTerm  = 1 << 62
	maxIndex = 1 << 62
)

// checkMessage refuses what no correct replica sends. Raft trusts its messages
// and panics on some that cannot be; garbage must not get that far.
func checkMessage(m *raftpb.Message, from, self uint64) error {
	switch {
	case m.GetFrom() != from || m.GetTo() != self:
		return fmt.Errorf("message from %d to %d on a connection from %d to %d", m.GetFrom(), m.GetTo(), from, self)
	case m.GetSnapshot() != nil && m.GetType() != raftpb.MsgSnap, len(m.GetResponses()) > 0:
		return fmt.Errorf("%s with parts it never has", m.GetType())
	case m.GetTerm() > maxTerm || m.GetIndex() > maxIndex || m.GetCommit() > maxIndex || m.GetRejectHint() > maxIndex:
		return fmt.Errorf("%s with a term or index out of range", m.GetType())
	case m.GetTerm() == 0 && m.GetType() != raftpb.MsgReadIndex:
		return fmt.Errorf("%s without a term", m.GetType())
	}
	return checkType(m)
}

func checkType(m *raftpb.Message) error {
	entries, context := len(m.GetEntries()), len(m.GetContext())
	switch m.GetType() {
	case raftpb.MsgApp:
		return checkAppend(m)
	case raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp:
		if context != 0 && context != 8 {
			return fmt.Errorf("%s with a context of %d bytes", m.GetType(), context)
		}
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		if entries != 1 {
			return fmt.Errorf("%s with %d entries", m.GetType(), entries)
		}
		return nil
	case raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow:
	default: // proposals are not forwarded, snapshots have their own connection, the rest is local
		return fmt.Errorf("message of type %s", m.GetType())
	}
	if entries != 0 {
		return fmt.Errorf("%s with %d entries", m.GetType(), entries)
	}
	return nil
}

func checkAppend(m *raftpb.Message) error {
	index, term := m.GetIndex(), m.GetLogTerm()
	if term > m.GetTerm() {
		return fmt.Errorf("append after an entry of term %d in term %d", term, m.GetTerm())
	}
	for _, e := range m.GetEntries() {
		index++
		if e.GetIndex() != index || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return fmt.Errorf("append in term %d: entry %d/%d where %d/%d or above belongs",
				m.GetTerm(), e.GetTerm(), e.GetIndex(), term, index)
		}
		if t := e.GetType(); t < raftpb.EntryNormal || t > raftpb.EntryConfChangeV2 {
			return fmt.Errorf("append: entry %d of type %d", index, t)
		}
		term = e.GetTerm()
	}
	return nil
}

// checkSnapshotMessage refuses a MsgSnap that could not be installed.
func checkSnapshotMessage(m *raftpb.Message, from, self uint64) error {
	if m.GetType() != raftpb.MsgSnap {
		return fmt.Errorf("%s on a snapshot connection", m.GetType())
	}
	if m.GetFrom() != from || m.GetTo() != self || m.GetTerm() == 0 || m.GetTerm() > maxTerm {
		return fmt.Errorf("snapshot from %d to %d in term %d on a connection from %d to %d",
			m.GetFrom(), m.GetTo(), m.GetTerm(), from, self)
	}
	meta := m.GetSnapshot().GetMetadata()
	if meta.GetIndex() == 0 || meta.GetIndex() > maxIndex || meta.GetTerm() == 0 || meta.GetTerm() > m.GetTerm() {
		return fmt.Errorf("snapshot at %d/%d", meta.GetTerm(), meta.GetIndex())
	}
	if len(meta.GetConfState().GetVoters()) == 0 {
		return fmt.Errorf("snapshot at %d without voters", meta.GetIndex())
	}
	return nil
}
