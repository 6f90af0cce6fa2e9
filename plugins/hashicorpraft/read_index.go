package hashicorpraft

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// ReadIndex takes the commit index first and then has a quorum confirm that
// this node still leads, in a term in which it has committed something.
func (g *group) ReadIndex(ctx context.Context) (index, term uint64, err error) {
	before, _ := g.Leadership()
	switch {
	case before.Role == consensus.Leader:
		return 0, 0, consensus.ErrLeaderNotReady
	case before.Role != consensus.LeaderReady:
		return 0, 0, consensus.ErrNotLeader
	}
	select {
	case g.verifying <- struct{}{}:
	default:
		return 0, 0, consensus.ErrOverloaded
	}
	index = g.raft.CommitIndex()
	round := g.peers.round.Add(1)
	verified := make(chan error, 1)
	go func() {
		defer func() { <-g.verifying }()
		verified <- g.raft.VerifyLeader().Error()
	}()
	select {
	case err = <-verified:
	case <-ctx.Done():
		return 0, 0, fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", consensus.ErrNotLeader, err)
	}
	if err := g.confirm(ctx, round, before.Term); err != nil {
		return 0, 0, err
	}
	return index, before.Term, nil
}

// confirm waits until a quorum of voters has answered, as to its leader of term,
// something that was sent in round or later.
//
// VerifyLeader makes the library ask everybody at once, but its own count is not
// enough: learners are in it, and answers to what was sent before. A process
// that was stopped finds such answers when it goes on, and the lead is lost.
func (g *group) confirm(ctx context.Context, round, term uint64) error {
	for {
		_, changed := g.Leadership()
		servers := g.store.configuration().Servers
		confirmed, answered := g.peers.confirmed(servers, round)
		voters := 0
		for _, s := range servers {
			if s.Suffrage == raft.Voter {
				voters++
				if s.ID == g.self {
					confirmed++
				}
			}
		}
		if g.raft.State() != raft.Leader || g.raft.CurrentTerm() != term {
			return consensus.ErrNotLeader
		}
		if confirmed > voters/2 {
			return nil
		}
		select {
		case <-answered:
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: %w", consensus.ErrTimeout, consensus.ErrNoQuorum, ctx.Err())
		}
	}
}
