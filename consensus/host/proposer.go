package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// proposer carries the proposals of one session over its stream and matches the
// answers. What it holds is bounded by the plugin's window.
type proposer struct {
	maxProposalBytes uint64
	maxProposals     int
	maxBytes         uint64
	commits          *latency
	wake             chan struct{} // cap 1: queue is not empty

	mu      sync.Mutex
	closed  bool
	queue   []*pending // not handed to the stream yet
	pending map[proposalKey]*pending
	bytes   uint64
}

type proposalKey struct {
	group          consensus.GroupID
	term, sequence uint64
}

type pending struct {
	proposal consensus.Proposal
	since    time.Time
	sent     bool                  // may have left this process
	result   chan consensus.Result // cap 1
}

func newProposer(w *consensuspb.Window, l consensus.Limits, commits *latency) *proposer {
	return &proposer{
		commits:          commits,
		maxProposalBytes: l.MaxProposalBytes,
		maxProposals:     int(w.GetMaxInflightProposals()),
		maxBytes:         w.GetMaxInflightBytes(),
		wake:             make(chan struct{}, 1),
		pending:          make(map[proposalKey]*pending),
	}
}

// propose queues p and waits for its outcome.
func (p *proposer) propose(ctx context.Context, proposal consensus.Proposal) consensus.Result {
	e, err := p.enqueue(proposal)
	if err != nil {
		return consensus.Result{Outcome: consensus.Rejected, Err: err}
	}
	select {
	case r := <-e.result:
		return r
	case <-ctx.Done():
		// It stays in the window until the plugin answers; nobody reads that.
		return consensus.Result{Outcome: consensus.Unknown, Err: fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())}
	}
}

func (p *proposer) enqueue(proposal consensus.Proposal) (*pending, error) {
	key := proposalKey{proposal.Group, proposal.Term, proposal.Sequence}
	size := uint64(len(proposal.Data))
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, consensus.ErrUnavailable
	case p.maxProposalBytes > 0 && size > p.maxProposalBytes:
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", consensus.ErrTooLarge, size, p.maxProposalBytes)
	case p.pending[key] != nil:
		return nil, fmt.Errorf("%w: it is in flight already", consensus.ErrOutOfSequence)
	case len(p.pending) >= p.maxProposals || p.bytes+size > p.maxBytes:
		return nil, consensus.ErrOverloaded
	}
	e := &pending{proposal: proposal, since: time.Now(), result: make(chan consensus.Result, 1)}
	p.pending[key] = e
	p.bytes += size
	p.queue = append(p.queue, e)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return e, nil
}

// send is the one goroutine that writes to the stream.
func (p *proposer) send(ctx context.Context, stream consensuspb.Consensus_ProposeClient) error {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		for e := p.next(); e != nil; e = p.next() {
			if err := stream.Send(wire.ProposalToProto(e.proposal)); err != nil {
				return fmt.Errorf("send proposal: %w", err)
			}
		}
	}
}

// next takes the oldest proposal from the queue; from now on it may have been sent.
func (p *proposer) next() *pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.queue) == 0 {
		return nil
	}
	e := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	e.sent = true
	return e
}

// receive is the one goroutine that reads from the stream.
func (p *proposer) receive(stream consensuspb.Consensus_ProposeClient) error {
	for {
		resp, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive outcome: %w", wire.FromStatus(err))
		}
		outcome := resp.GetOutcome()
		if outcome == nil {
			continue // appended: only the outcome is of use here
		}
		r := wire.ResultFromProto(outcome)
		if r.Outcome != consensus.Committed && r.Err == nil {
			r.Err = errors.New("the backend gave no reason")
		}
		p.decide(proposalKey{consensus.GroupID(resp.GetGroupId()), resp.GetTerm(), resp.GetSequence()}, r)
	}
}

func (p *proposer) decide(key proposalKey, r consensus.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.pending[key]
	if e == nil {
		return
	}
	delete(p.pending, key)
	p.bytes -= uint64(len(e.proposal.Data))
	if r.Outcome == consensus.Committed {
		p.commits.record(time.Since(e.since))
	}
	e.result <- r
}

// close decides everything that is pending: what was never handed to the stream
// is rejected, the rest unknown. Later proposals are rejected.
func (p *proposer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for key, e := range p.pending {
		r := consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrUnavailable}
		if e.sent {
			r.Outcome = consensus.Unknown
		}
		e.result <- r
		delete(p.pending, key)
	}
	p.queue = nil
}
