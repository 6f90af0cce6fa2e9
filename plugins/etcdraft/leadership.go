package etcdraft

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/quorate/quorate/consensus"
)

// Leadership implements consensus.Group.
func (g *group) Leadership() (consensus.Leadership, <-chan struct{}) { return g.leadership.get() }

// publish tells the host what raft says of the leader. A term that is not on
// stable storage yet is not reported: after a crash it might be lower again.
func (g *group) publish() {
	status := g.node.BasicStatus()
	leads := status.RaftState == raft.StateLeader
	if !leads || g.pending.term != status.GetTerm() {
		g.pending.abandon(consensus.ErrLeadershipLost)
	}
	last, _ := g.leadership.get()
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
	g.leadership.set(next)
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
		return consensus.Candidate
	}
	return g.passiveRole()
}

// passiveRole is what this replica is when it neither leads nor stands.
func (g *group) passiveRole() consensus.Role {
	c := g.currentConfig()
	for _, m := range c.Learners {
		if m == g.self {
			return consensus.Learner
		}
	}
	if len(c.Voters) > 0 && !c.has(g.self) {
		return consensus.Removed
	}
	return consensus.Follower
}

var _ consensus.LeadershipTransferer = (*group)(nil)

// TransferLeadership implements consensus.LeadershipTransferer: to NoLeader is
// the voter that is the furthest. Proposals are rejected meanwhile.
func (g *group) TransferLeadership(ctx context.Context, to uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*g.timing.election)
	defer cancel()
	asked := make(chan error, 1)
	g.inbox.call(func() { asked <- g.transfer(&to) })
	select {
	case err := <-asked:
		if err != nil || to == g.self {
			return err
		}
	case <-ctx.Done():
		return transferError(ctx)
	case <-g.ctx.Done():
		return consensus.ErrShuttingDown
	}
	for {
		l, changed := g.leadership.get()
		if l.Leader == to {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return transferError(ctx)
		case <-g.ctx.Done():
			return consensus.ErrShuttingDown
		}
	}
}

func transferError(ctx context.Context) error {
	return fmt.Errorf("transfer leadership: %w: %w", consensus.ErrTimeout, ctx.Err())
}

// transfer runs in the loop.
func (g *group) transfer(to *uint64) error {
	if g.node.BasicStatus().RaftState != raft.StateLeader {
		return consensus.ErrNotLeader
	}
	status := g.node.Status()
	if *to == consensus.NoLeader {
		var best uint64
		for id, p := range status.Progress {
			if id != g.self && !p.IsLearner && p.RecentActive && p.Match >= best {
				best, *to = p.Match, id
			}
		}
	}
	if p, ok := status.Progress[*to]; !ok || p.IsLearner {
		return fmt.Errorf("%w: replica %d cannot lead", consensus.ErrInvalidArgument, *to)
	}
	if *to != g.self {
		g.node.TransferLeader(*to)
	}
	return nil
}

// LoopAge implements consensus.Group.
func (g *group) LoopAge() (loop, sync time.Duration) {
	at := g.lastTurn.Load()
	if at == 0 {
		return 0, g.store.log.SyncAge()
	}
	return max(time.Since(time.Unix(0, at)), 0), g.store.log.SyncAge()
}
