package etcdraft

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// stepMessage gives raft a peer's message, unless it is void or cannot be true:
// raft would panic.
func (g *group) stepMessage(m *raftpb.Message, now time.Time) {
	status := g.node.BasicStatus()
	if g.void(m, status) || g.tempts(m, status) {
		return
	}
	g.heard(m, now)
	if why := g.impossible(m, status); why != "" {
		if now.Sub(g.oddPeers) > 10*time.Second {
			g.log.Error("ignored a message that cannot be: the sender, or this log, has lost entries", "peer", m.GetFrom(),
				"type", m.GetType().String(), "reason", why)
			g.oddPeers = now
		}
		return
	}
	if m.GetType() == raftpb.MsgTimeoutNow {
		g.drain() // raft does not stand while a configuration that it has is not applied
	}
	// An error is for messages of replicas that are not in the group, and for
	// proposals; neither matters here.
	_ = g.node.Step(m)
}

// void tells whether m is about reads that this replica does not conduct: raft
// would send a request on in the asker's name, and count any confirmation.
func (g *group) void(m *raftpb.Message, status raft.BasicStatus) bool {
	switch m.GetType() {
	case raftpb.MsgReadIndex:
		return g.readyAt(status) == 0
	case raftpb.MsgHeartbeatResp:
		return len(m.GetContext()) == 8 &&
			(m.GetTerm() != g.readTerm || binary.LittleEndian.Uint64(m.GetContext()) > g.readCtx)
	}
	return false
}

// impossible tells why m cannot be true, or "".
func (g *group) impossible(m *raftpb.Message, status raft.BasicStatus) string {
	switch {
	case m.GetTerm() < status.GetTerm(): // raft ignores it
	case m.GetType() == raftpb.MsgAppResp && !m.GetReject() && m.GetIndex() > g.lastIndex &&
		status.RaftState == raft.StateLeader:
		return fmt.Sprintf("entry %d is acknowledged, the log ends at %d", m.GetIndex(), g.lastIndex)
	case m.GetType() == raftpb.MsgHeartbeat && m.GetCommit() > g.lastIndex:
		return fmt.Sprintf("entry %d is committed, the log ends at %d", m.GetCommit(), g.lastIndex)
	}
	return ""
}

// stepSnapshot gives raft a leader's snapshot whose content has been received.
// Raft installs it in the same turn or not at all.
func (g *group) stepSnapshot(s *receivedSnapshot) {
	g.arriving = s
	_, index := s.position()
	if s.file != nil || index <= g.node.BasicStatus().GetCommit() {
		g.inviteSelf(s.m)
		g.mustStep(s.m)
		g.drain()
	}
	if g.arriving != nil && g.arriving.file != nil {
		if err := g.arriving.file.remove(); err != nil {
			g.log.Warn("remove snapshot", "error", err)
		}
	}
	g.arriving = nil
}

// inviteSelf makes this replica a learner in a snapshot that is older than its
// addition to the group: raft installs no other. Only raft is told so; the
// snapshot's own configuration stays what it is.
func (g *group) inviteSelf(m *raftpb.Message) {
	cs := m.GetSnapshot().GetMetadata().GetConfState()
	if !slices.Contains(slices.Concat(cs.GetVoters(), cs.GetLearners(), cs.GetVotersOutgoing()), g.self) {
		cs.Learners = append(cs.Learners, g.self)
	}
}

func without(ids []uint64, id uint64) []uint64 {
	return slices.DeleteFunc(slices.Clone(ids), func(o uint64) bool { return o == id })
}

// stepWritten takes the writer's report.
func (g *group) stepWritten(w written) {
	g.durable = max(g.durable, w.term)
	if w.snapshot != nil {
		g.installed(w.snapshot)
	}
	for _, m := range w.responses {
		g.mustStep(m)
	}
}

// installed is called when a leader's snapshot is the newest one here, durably.
func (g *group) installed(s *receivedSnapshot) {
	_, index := s.position()
	g.mu.Lock()
	g.history = history{s.meta.Config}
	g.guest = !s.meta.Config.has(g.self)
	g.mu.Unlock()
	g.backend.transport.setGroup(g.id, s.meta.Config, g.hints)
	g.delivered.Set(index)
	g.snapshotCounts.installed.Add(1)
	g.afterSnapshot(index)
	g.log.Info("installed a snapshot of the leader", "index", index, "bytes", s.meta.Size)
}

func (g *group) mustStep(m *raftpb.Message) {
	if err := g.node.Step(m); err != nil {
		g.log.Debug("step", "type", m.GetType().String(), "error", err)
	}
}
