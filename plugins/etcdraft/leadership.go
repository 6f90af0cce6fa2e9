package etcdraft

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/quorate/quorate/consensus"
)

// Leadership implements consensus.Group.
func (g *group) Leadership() (consensus.Leadership, <-chan struct{}) { return g.leadership.Get() }

// publish tells the host what raft says of the leader. A term that is not on
// stable storage yet is not reported: after a crash it might be lower again.
func (g *group) publish() {
	status := g.node.BasicStatus()
	leads := status.RaftState == raft.StateLeader
	if !leads || g.pending.term != status.GetTerm() {
		g.pending.abandon(consensus.ErrLeadershipLost)
	}
	if g.change != nil && (!leads || g.change.term != status.GetTerm()) {
		g.abandonChange(consensus.ErrLeadershipLost)
	}
	last, _ := g.leadership.Get()
	next := consensus.Leadership{Term: status.GetTerm(), Leader: status.Lead, Role: g.role(status)}
	if next.Role == consensus.LeaderReady {
		next.ReadyIndex = g.readyAt(status)
	}
	if status.GetTerm() > g.durable {
		next = consensus.Leadership{Term: max(g.durable, last.Term), Role: g.passiveRole()}
	}
	if next == last {
		return
	}
	if next.Leader != last.Leader || next.Term != last.Term {
		g.changes.Add(1)
		g.log.Info("leadership", "term", next.Term, "leader", next.Leader, "role", next.Role.String())
	}
	g.leadership.Set(next)
}

// readyAt returns the first committed entry of the term that this replica leads
// in, 0 if it does not lead or there is none yet.
func (g *group) readyAt(status raft.BasicStatus) uint64 {
	if status.RaftState != raft.StateLeader || g.readyTerm != status.GetTerm() {
		return 0
	}
	return g.readyIndex
}

func (g *group) role(status raft.BasicStatus) consensus.Role {
	switch status.RaftState {
	case raft.StateLeader:
		if g.readyAt(status) != 0 {
			return consensus.LeaderReady
		}
		return consensus.Leader
	case raft.StateCandidate, raft.StatePreCandidate:
		if !g.expelled() {
			return consensus.Candidate
		}
	}
	return g.passiveRole()
}

// passiveRole is what this replica is when it neither leads nor stands.
func (g *group) passiveRole() consensus.Role {
	c := g.currentConfig()
	if g.expelled() {
		return consensus.Removed
	}
	if slices.Contains(c.Learners, g.self) {
		return consensus.Learner
	}
	if slices.Contains(c.Removed, g.self) {
		return consensus.Removed
	}
	return consensus.Follower
}

// LoopAge implements consensus.Group.
func (g *group) LoopAge() (loop, sync time.Duration) {
	at := g.lastTurn.Load()
	if at == 0 {
		return 0, g.store.log.SyncAge()
	}
	return max(time.Since(time.Unix(0, at)), 0), g.store.log.SyncAge()
}
