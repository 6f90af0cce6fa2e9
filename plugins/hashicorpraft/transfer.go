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
	ctx, cancel := context.WithTimeout(ctx, 3*g.b.cfg.Timing.ElectionTimeout)
	defer cancel()
	server, err := g.heir(to)
	if err != nil || server.ID == g.self {
		return err
	}
	term, drained, err := g.holdProposals()
	if err != nil {
		return err
	}
	if err := g.prepare(ctx, server.ID, term, drained); err != nil {
		g.takeProposals()
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

// holdProposals has proposals rejected before they reach the library, and
// returns a channel that is closed when it has none any more.
func (g *group) holdProposals() (term uint64, drained <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.drained != nil {
		return 0, nil, consensus.ErrTransferPending
	}
	g.drained = make(chan struct{})
	if g.inflight == 0 {
		close(g.drained)
	}
	return g.leadership.Term, g.drained, nil
}

// prepare waits until the library has answered every proposal and heir has the
// whole log, for as long as an election takes, as the library would.
//
// The library rejects what it has queued while it transfers, and may then take
// what is behind it: a gap (rule P2). And it must not be asked to bring the heir
// up to date itself: should it lose the lead while it does, its attempt may wait
// for ever for a goroutine that is gone, and until the process ends it refuses
// everything, as if a transfer were under way (v1.8.0).
func (g *group) prepare(ctx context.Context, heir raft.ServerID, term uint64, drained <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, g.b.cfg.Timing.ElectionTimeout)
	defer cancel()
	select {
	case <-drained:
	case <-ctx.Done():
		return fmt.Errorf("%w: proposals are in flight: %w", consensus.ErrTimeout, ctx.Err())
	}
	for {
		match, answered := g.peers.matchOf(heir, term)
		switch l, changed := g.Leadership(); {
		case l.Term != term || l.Role != consensus.Leader && l.Role != consensus.LeaderReady:
			return consensus.ErrNotLeader
		case match >= g.raft.LastIndex():
			return nil
		default:
			select {
			case <-answered:
			case <-changed:
			case <-ctx.Done():
				return fmt.Errorf("%w: replica %s is behind: %w", consensus.ErrTimeout, heir, ctx.Err())
			}
		}
	}
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
	g.takeProposals()
}

func (g *group) takeProposals() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drained = nil
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
