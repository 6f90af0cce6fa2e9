package hashicorpraft

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

type proposal struct {
	term  uint64
	data  []byte
	state *flightState
}

// flight is a proposal that the library has.
type flight struct {
	proposal
	future raft.ApplyFuture
}

// flightState sees to it that a proposal is answered once: by complete, or by
// close if the library never answers. It is guarded by group.mu.
type flightState struct {
	done  func(consensus.Result)
	bytes int
}

// Propose queues. The library checks leadership again, but not the term: if
// this node loses the lead and wins it again between submit's check and the
// append, the entry gets another term, and is void (rule P1).
func (g *group) Propose(expectedTerm uint64, data []byte, done func(consensus.Result)) {
	if err := g.enqueue(expectedTerm, data, done); err != nil {
		g.rejected.Add(1)
		done(consensus.Result{Outcome: consensus.Rejected, Err: err})
	}
}

func (g *group) enqueue(term uint64, data []byte, done func(consensus.Result)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return consensus.ErrShuttingDown
	case g.store.failed.Load() != nil:
		return *g.store.failed.Load()
	case g.leadership.Role != consensus.Leader && g.leadership.Role != consensus.LeaderReady:
		return consensus.ErrNotLeader
	case g.leadership.Term != term:
		return fmt.Errorf("%w: it is %d, not %d", consensus.ErrTermMismatch, g.leadership.Term, term)
	case g.leadership.Role == consensus.Leader:
		return consensus.ErrLeaderNotReady
	case g.drained != nil:
		return consensus.ErrTransferPending
	case len(data) > maxProposalBytes:
		return fmt.Errorf("%w: %d bytes", consensus.ErrTooLarge, len(data))
	case g.inflight >= maxInflight || g.inflightBytes+len(data) > maxInflightBytes:
		return consensus.ErrOverloaded
	}
	s := &flightState{done: done, bytes: len(data)}
	g.flights[s] = struct{}{}
	g.inflight++
	g.inflightBytes += len(data)
	g.queue <- proposal{term: term, data: data, state: s} // has room for all that are in flight
	return nil
}

// submit hands proposals to the library, in order, until the queue is closed.
func (g *group) submit() {
	defer close(g.completions)
	for p := range g.queue {
		if g.raft.State() != raft.Leader || g.raft.CurrentTerm() != p.term {
			g.answer(p.state, consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrNotLeader})
			continue
		}
		g.completions <- flight{p, g.raft.Apply(p.data, 0)} // has room for all that are in flight
	}
}

// complete answers in the order of the log.
func (g *group) complete() {
	defer close(g.completed)
	for f := range g.completions {
		g.answer(f.state, f.result())
	}
}

// result waits for the library. Only what it refuses before it appends is
// Rejected; everything else that went wrong may still be committed.
func (f flight) result() consensus.Result {
	err := f.future.Error()
	switch {
	case err == nil && f.future.Response() == any(f.term):
		return consensus.Result{Outcome: consensus.Committed, Index: f.future.Index()}
	case err == nil:
		return consensus.Result{Err: fmt.Errorf("%w: it was appended in another term", consensus.ErrLeadershipLost)}
	case errors.Is(err, raft.ErrNotLeader):
		return consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrNotLeader}
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrTransferPending}
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrOverloaded}
	case errors.Is(err, raft.ErrRaftShutdown):
		return consensus.Result{Err: fmt.Errorf("%w: %w", consensus.ErrUnavailable, err)}
	case errors.Is(err, consensus.ErrStorageFailed):
		return consensus.Result{Err: err}
	default:
		return consensus.Result{Err: fmt.Errorf("%w: %w", consensus.ErrLeadershipLost, err)}
	}
}

// answer calls done unless that was done before.
func (g *group) answer(s *flightState, r consensus.Result) {
	g.mu.Lock()
	_, first := g.flights[s]
	if first {
		delete(g.flights, s)
		g.inflight--
		g.inflightBytes -= s.bytes
	}
	if first && g.inflight == 0 && g.drained != nil {
		close(g.drained)
	}
	g.mu.Unlock()
	if !first {
		return
	}
	switch r.Outcome {
	case consensus.Committed:
		g.committed.Add(1)
	case consensus.Rejected:
		g.rejected.Add(1)
	default:
		g.unsure.Add(1)
	}
	s.done(r)
}
