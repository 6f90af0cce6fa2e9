package etcdraft

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/quorate/quorate/consensus"
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
	g.delivered.set(last)
	g.askForSnapshot(last)
}

func (g *group) applyConfChange(e *raftpb.Entry, into proto.Message, cc raftpb.ConfChangeI) {
	if err := proto.Unmarshal(e.GetData(), into); err != nil {
		panic(fmt.Sprintf("configuration entry %d: %v", e.GetIndex(), err))
	}
	next := g.currentConfig()
	if context := cc.AsV2().GetContext(); len(context) > 0 {
		var m consensus.Member
		if err := json.Unmarshal(context, &m); err != nil {
			panic(fmt.Sprintf("configuration entry %d: %v", e.GetIndex(), err))
		}
		next = next.withMember(m)
	}
	next = next.with(e.GetIndex(), g.node.ApplyConfChange(cc))
	g.mu.Lock()
	g.history.add(next)
	g.mu.Unlock()
	g.backend.learn(next)
}
