package kit

import (
	"context"
	"errors"
	"sync"

	"github.com/quorate/quorate/consensus"
)

// errTermSpent means that nothing more can be proposed in a term: an outcome in
// it is unknown, so that what follows might be void.
var errTermSpent = errors.New("a proposal of this term is undecided")

// sequencer numbers the proposals of every term, as a broker does: in order and
// without gaps. After a rejection it waits for what is in flight and goes on
// where the rejected one was; after an unknown outcome it waits to see it, or for
// a higher term.
type sequencer struct {
	mu       sync.Mutex
	decided  sync.Cond
	next     map[uint64]uint64 // term to the next sequence
	inflight map[uint64]int
	rejected map[uint64]uint64   // term to the lowest sequence that was rejected
	unsure   map[uint64][]string // term to the commands whose outcome is unknown
}

func newSequencer() *sequencer {
	s := &sequencer{next: map[uint64]uint64{}, inflight: map[uint64]int{}, rejected: map[uint64]uint64{}, unsure: map[uint64][]string{}}
	s.decided.L = &s.mu
	return s
}

// propose proposes command through n in term and returns where its one result
// will come.
func (l *lab) propose(n *node, term uint64, command string) <-chan consensus.Result {
	results := make(chan consensus.Result, 1)
	c := n.client()
	if c == nil {
		results <- consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrUnavailable}
		return results
	}
	sequence, answer, err := l.sequences.enqueue(l, c, n.id, term, command)
	if err != nil {
		results <- consensus.Result{Outcome: consensus.Rejected, Err: err}
		return results
	}
	l.background.Go(func() {
		var r consensus.Result
		select {
		case r = <-answer:
		case <-l.ctx.Done():
			r = consensus.Result{Err: l.ctx.Err()}
		}
		l.checks.result(command, r)
		l.sequences.took(term, sequence, command, r)
		results <- r
	})
	return results
}

func (s *sequencer) enqueue(l *lab, c Replica, replica, term uint64, command string) (sequence uint64, answer <-chan consensus.Result, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.rejected[term] > 0 && s.inflight[term] > 0 {
		s.decided.Wait()
	}
	if low := s.rejected[term]; low > 0 {
		s.next[term] = low
		delete(s.rejected, term)
	}
	for _, u := range s.unsure[term] {
		if !l.checks.wasDelivered(u) {
			return 0, nil, errTermSpent
		}
	}
	delete(s.unsure, term)
	sequence = max(s.next[term], 1)
	s.next[term] = sequence + 1
	s.inflight[term]++
	l.checks.proposed(command, replica)
	env := consensus.Envelope{ExpectedTerm: term, Sequence: sequence, Payload: []byte(command)}
	return sequence, c.Enqueue(consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: sequence, Data: env.Append(nil)}), nil
}

func (s *sequencer) took(term, sequence uint64, command string, r consensus.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inflight[term]--
	switch r.Outcome {
	case consensus.Rejected:
		if low := s.rejected[term]; low == 0 || sequence < low {
			s.rejected[term] = sequence
		}
	case consensus.Unknown:
		s.unsure[term] = append(s.unsure[term], command)
	}
	s.decided.Broadcast()
}

// raw proposes with a sequence of the case's own choice, past the sequencer.
func (l *lab) raw(n *node, p consensus.Proposal, command string) consensus.Result {
	l.checks.proposed(command, n.id)
	p.Group = consensus.Metadata
	p.Data = consensus.Envelope{ExpectedTerm: p.Term, Sequence: p.Sequence, Payload: []byte(command)}.Append(nil)
	r := l.await(n.client().Enqueue(p))
	l.checks.result(command, r)
	return r
}

// await waits for the result of a proposal.
func (l *lab) await(results <-chan consensus.Result) consensus.Result {
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	select {
	case r := <-results:
		return r
	case <-ctx.Done():
		l.giveUp("P3", "a proposal has no result after %s", l.opts.Patience)
		return consensus.Result{}
	}
}
