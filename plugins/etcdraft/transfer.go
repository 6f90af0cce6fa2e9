package etcdraft

import (
	"context"
	"fmt"

	"go.etcd.io/raft/v3"

	"github.com/quorate/quorate/consensus"
)

var _ consensus.LeadershipTransferer = (*group)(nil)

// TransferLeadership implements consensus.LeadershipTransferer: to NoLeader is
// the voter that is the furthest. Proposals are rejected meanwhile. A transfer
// that fails leaves this replica the leader, unless somebody else was elected.
func (g *group) TransferLeadership(ctx context.Context, to uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*g.timing.election)
	defer cancel()
	type answer struct {
		to, term uint64
		err      error
	}
	asked := make(chan answer, 1)
	g.inbox.call(func() {
		chosen, err := g.transfer(to)
		asked <- answer{chosen, g.node.BasicStatus().GetTerm(), err}
	})
	var a answer
	select {
	case a = <-asked:
		if a.err != nil || a.to == g.self {
			return a.err
		}
	case <-ctx.Done():
		return transferError(ctx)
	case <-g.ctx.Done():
		return consensus.ErrShuttingDown
	}
	return g.awaitLeader(ctx, a.to, a.term)
}

// awaitLeader waits until to leads in a term behind the given one.
func (g *group) awaitLeader(ctx context.Context, to, term uint64) error {
	for {
		l, changed := g.leadership.Get()
		switch {
		case l.Term > term && l.Leader == to:
			return nil
		case l.Term > term && l.Leader != consensus.NoLeader:
			return fmt.Errorf("%w: replica %d leads now", consensus.ErrLeadershipLost, l.Leader)
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
	return fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())
}

// transfer starts a transfer and returns to whom. It runs in the loop.
func (g *group) transfer(to uint64) (uint64, error) {
	status := g.node.Status()
	if status.RaftState != raft.StateLeader {
		return to, consensus.ErrNotLeader
	}
	if to == consensus.NoLeader {
		if to = g.successor(status); to == consensus.NoLeader {
			return to, fmt.Errorf("%w: no other voter answers", consensus.ErrNoQuorum)
		}
	}
	if p, ok := status.Progress[to]; !ok || p.IsLearner {
		return to, fmt.Errorf("%w: replica %d cannot lead", consensus.ErrInvalidArgument, to)
	}
	if under := status.LeadTransferee; under != raft.None && under != to {
		return to, fmt.Errorf("%w: to replica %d", consensus.ErrTransferPending, under)
	}
	if to != g.self {
		g.node.TransferLeader(to)
	}
	return to, nil
}

// successor returns the voter that is the furthest of those that answer, as of
// the given status of this leader; NoLeader if there is none.
func (g *group) successor(of raft.Status) uint64 {
	var to, match uint64
	for _, id := range g.currentConfig().Voters {
		p, ok := of.Progress[id]
		if ok && id != g.self && p.RecentActive && (to == consensus.NoLeader || p.Match > match) {
			to, match = id, p.Match
		}
	}
	return to
}
