package etcdraft

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// apply takes committed entries, which are durable here: configurations take
// effect, proposals are answered, the host's readers are woken.
func (g *group) apply(entries []*raftpb.Entry) {
	status := g.node.BasicStatus()
	var size int64
	for _, e := range entries {
		switch e.GetType() {
		case raftpb.EntryConfChange:
			cc := new(raftpb.ConfChange)
			g.applyConfChange(e, cc, cc)
		case raftpb.EntryConfChangeV2:
			cc := new(raftpb.ConfChangeV2)
			g.applyConfChange(e, cc, cc)
		default:
			g.pending.commit(e)
		}
		if status.RaftState == raft.StateLeader && g.readyTerm != status.GetTerm() && e.GetTerm() == status.GetTerm() {
			g.readyTerm, g.readyIndex = e.GetTerm(), e.GetIndex()
		}
		size += int64(len(e.GetData()))
	}
	g.bytesSince.Add(size)
	last := entries[len(entries)-1].GetIndex()
	g.delivered.Set(last)
	g.askForSnapshot(last)
}
