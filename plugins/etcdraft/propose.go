package etcdraft

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

const (
	maxProposalBytes     = 4 << 20
	maxInflightProposals = 8192
	maxInflightBytes     = 64 << 20
	maxStepBytes         = 512 << 10 // proposals appended in one step
	maxStepEntries       = 512
)

// Propose implements consensus.Group.
func (g *group) Propose(expectedTerm uint64, data []byte, done func(consensus.Result)) {
	switch {
	case g.ctx.Err() != nil:
		g.answer(done, rejected(consensus.ErrShuttingDown))
		return
	case len(data) > maxProposalBytes:
		g.answer(done, rejected(fmt.Errorf("%w: %d bytes, the limit is %d", consensus.ErrTooLarge, len(data), maxProposalBytes)))
		return
	case !g.inflight.acquire(len(data)):
		g.answer(done, rejected(consensus.ErrOverloaded))
		return
	}
	marked := append(append(make([]byte, 0, len(data)+1), proposalMark), data...)
	p := proposal{term: expectedTerm, data: marked, done: func(r consensus.Result) {
		g.inflight.release(len(data))
		g.answer(done, r)
	}}
	g.inbox.put(func(i *inboxItems) { i.proposals = append(i.proposals, p) })
	if g.ctx.Err() != nil { // the loop may have emptied the inbox for the last time
		g.failInbox()
	}
}

func rejected(err error) consensus.Result {
	return consensus.Result{Outcome: consensus.Rejected, Err: err}
}

func unknown(err error) consensus.Result {
	return consensus.Result{Outcome: consensus.Unknown, Err: err}
}

func (g *group) answer(done func(consensus.Result), r consensus.Result) {
	switch r.Outcome {
	case consensus.Committed:
		g.committed.Add(1)
	case consensus.Rejected:
		g.rejected.Add(1)
	default:
		g.unknown.Add(1)
	}
	done(r)
}

// proposals are those that raft has taken, until their outcome is known. Only
// the loop uses it.
type proposals struct {
	term uint64 // of all of them
	// fifo are appended, but have not been seen in a Ready: raft does not say at
	// which index. They come there in this order.
	fifo []proposal
	// waiting are in the log at their index.
	waiting map[uint64]proposal
}

// step gives proposals to raft, in order, several at a time. Once one is
// refused, so are those behind it: they would leave a gap.
func (g *group) step(ps []proposal) {
	for len(ps) > 0 {
		if why := g.refusal(ps[0]); why != nil {
			ps[0].done(rejected(why))
			ps = ps[1:]
			continue
		}
		n := stepSize(ps)
		if err := g.stepEntries(ps[:n]); err != nil {
			for _, p := range ps {
				p.done(rejected(err))
			}
			return
		}
		ps = ps[n:]
	}
}

// refusal tells why p is not appended, nil if it may be.
func (g *group) refusal(p proposal) error {
	status := g.node.BasicStatus()
	switch {
	case status.RaftState != raft.StateLeader:
		return consensus.ErrNotLeader
	case status.GetTerm() != p.term:
		return fmt.Errorf("%w: %d", consensus.ErrTermMismatch, status.GetTerm())
	case g.readyAt(status) == 0:
		return consensus.ErrLeaderNotReady
	case status.LeadTransferee != raft.None:
		return consensus.ErrTransferPending
	}
	return nil
}

// stepSize returns how many of ps, of one term, go together.
func stepSize(ps []proposal) int {
	n, size := 0, 0
	for n < len(ps) && n < maxStepEntries && ps[n].term == ps[0].term {
		if size += len(ps[n].data); n > 0 && size > maxStepBytes {
			break
		}
		n++
	}
	return n
}

func (g *group) stepEntries(ps []proposal) error {
	entries := make([]*raftpb.Entry, len(ps))
	for i, p := range ps {
		entries[i] = &raftpb.Entry{Data: p.data}
	}
	err := g.node.Step(&raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(g.self), Entries: entries})
	if errors.Is(err, raft.ErrProposalDropped) {
		// The one reason left: too many bytes without a quorum.
		return fmt.Errorf("%w: %w", consensus.ErrOverloaded, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrNotLeader, err)
	}
	g.pending.term = ps[0].term
	g.pending.fifo = append(g.pending.fifo, ps...)
	return nil
}

// locate finds the indexes of the proposals in entries that are being appended.
// In the term in which this replica leads, every proposal in its log is its own.
func (p *proposals) locate(entries []*raftpb.Entry) {
	for _, e := range entries {
		if len(p.fifo) == 0 {
			return
		}
		if e.GetTerm() == p.term && isProposal(e.GetType(), e.GetData()) {
			p.waiting[e.GetIndex()] = p.fifo[0]
			p.fifo = p.fifo[1:]
		}
	}
}

// commit answers the proposal at a committed entry, if the entry is the proposal.
func (p *proposals) commit(e *raftpb.Entry) {
	waiting, ok := p.waiting[e.GetIndex()]
	if !ok {
		return
	}
	delete(p.waiting, e.GetIndex())
	if e.GetTerm() != waiting.term {
		waiting.done(unknown(consensus.ErrLeadershipLost))
		return
	}
	waiting.done(consensus.Result{Outcome: consensus.Committed, Index: e.GetIndex()})
}

// abandon answers all of them: they may or may not be committed by the next leader.
func (p *proposals) abandon(why error) {
	for _, f := range p.fifo {
		f.done(unknown(why))
	}
	for _, w := range p.waiting {
		w.done(unknown(why))
	}
	p.fifo = nil
	clear(p.waiting)
}
