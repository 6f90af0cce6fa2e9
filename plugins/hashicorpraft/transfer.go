package hashicorpraft

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

var _ consensus.LeadershipTransferer = (*group)(nil)

// TransferLeadership hands over to a voter, to NoLeader meaning the one that is
// the furthest, and returns once that one leads. Proposals are rejected from
// the beginning until it is known who leads, which may be this replica again,
// in the same term.
func (g *group) TransferLeadership(ctx context.Context, to uint64) error {
	if err := g.transfer(ctx, to); err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}

func (g *group) transfer(ctx context.Context, to uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 3*g.b.cfg.Timing.ElectionTimeout)
	defer cancel()
	server, err := g.heir(to)
	if err != nil || server.ID == g.self {
		return err
	}
	term, err := g.holdProposals()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { // the library may never answer; see close
		err := g.raft.LeadershipTransferToServer(server.ID, server.Address).Error()
		g.releaseProposals(term)
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())
	case <-g.stopWatch:
		return consensus.ErrShuttingDown
	}
	if err != nil {
		return transferError(err)
	}
	return g.awaitLeader(ctx, term, replicaID(server.ID))
}

// heir returns the voter that is to lead. One that does not answer is refused
// now: the library would reject proposals until its time-out, in vain.
func (g *group) heir(to uint64) (raft.Server, error) {
	if l, _ := g.Leadership(); l.Role != consensus.Leader && l.Role != consensus.LeaderReady {
		return raft.Server{}, consensus.ErrNotLeader
	}
	c := g.store.configuration()
	if to == consensus.NoLeader {
		server, ok := g.peers.best(c.Servers, g.self)
		if !ok {
			return server, fmt.Errorf("%w: no other voter answers", consensus.ErrNoQuorum)
		}
		return server, nil
	}
	server, known := serverOf(c.Configuration, to)
	switch {
	case !known || server.Suffrage != raft.Voter:
		return server, fmt.Errorf("%w: replica %d is no voter", consensus.ErrInvalidArgument, to)
	case server.ID != g.self && !g.peers.answers(server.ID):
		return server, fmt.Errorf("%w: replica %d does not answer", consensus.ErrTimeout, to)
	}
	return server, nil
}

func transferError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return consensus.ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return consensus.ErrTransferPending
	case errors.Is(err, raft.ErrRaftShutdown):
		return consensus.ErrShuttingDown
	}
	return fmt.Errorf("%w: %w", consensus.ErrTimeout, err)
}

// holdProposals has proposals rejected before they reach the library, which
// would reject some of them and then take later ones: a gap (rule P2).
func (g *group) holdProposals() (term uint64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.transferring {
		return 0, consensus.ErrTransferPending
	}
	g.transferring = true
	return g.leadership.Term, nil
}

// releaseProposals takes proposals again once the library does. It goes on
// rejecting for a moment after it has reported that a transfer failed.
func (g *group) releaseProposals(term uint64) {
	for g.raft.State() == raft.Leader && g.raft.CurrentTerm() == term {
		err := g.raft.Barrier(time.Second).Error()
		if !errors.Is(err, raft.ErrLeadershipTransferInProgress) && !errors.Is(err, raft.ErrEnqueueTimeout) {
			break
		}
		select {
		case <-time.After(time.Millisecond):
		case <-g.stopWatch:
			return
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.transferring = false
}

// awaitLeader waits for a leader of a later term, who should be the one that was
// wanted.
func (g *group) awaitLeader(ctx context.Context, term, wanted uint64) error {
	for {
		l, changed := g.Leadership()
		if l.Term > term && l.Leader != consensus.NoLeader {
			if l.Leader != wanted {
				return fmt.Errorf("%w: replica %d was elected instead", consensus.ErrLeadershipLost, l.Leader)
			}
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())
		}
	}
}
