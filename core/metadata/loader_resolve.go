package metadata

import (
	"context"
	"errors"
	"fmt"

	"github.com/quorate/quorate/consensus"
)

// ErrForgotten means that a proposal can not be judged any more: this replica
// got the entries of its term as part of a snapshot, or very many terms ago.
var ErrForgotten = errors.New("the proposal's term was passed without being watched")

// maxEndedTerms bounds what is remembered of terms that are over. A proposer
// resolves a proposal within a term or two.
const maxEndedTerms = 1024

// endedTerms is how far the sequences of past terms got, ascending by term. It
// is what outlives the gate, which knows its own term only.
type endedTerms struct {
	floor uint64 // terms below were not watched
	gates []consensus.Gate
}

func (t *endedTerms) add(gates []consensus.Gate) {
	t.gates = append(t.gates, gates...)
	if extra := len(t.gates) - maxEndedTerms; extra > 0 {
		t.floor = t.gates[extra-1].Term + 1
		t.gates = append([]consensus.Gate(nil), t.gates[extra:]...)
	}
}

// restart forgets all: the state jumped to a gate.
func (t *endedTerms) restart(at consensus.Gate) {
	*t = endedTerms{floor: at.Term}
}

// judge tells what became of a proposal, given the gate that was reached.
func (t *endedTerms) judge(at consensus.Gate, term, sequence uint64) (consensus.Outcome, error) {
	if term >= at.Term {
		return at.Resolve(term, sequence), nil
	}
	if term < t.floor {
		return consensus.Unknown, fmt.Errorf("term %d: %w", term, ErrForgotten)
	}
	for _, g := range t.gates {
		if g.Term == term && g.Sequence >= sequence {
			return consensus.Committed, nil
		}
	}
	return consensus.Rejected, nil
}

// Resolve waits until the proposal (term, sequence) is decided on the log and
// says how: Committed, with an index at or behind the proposal's that is
// published, or Rejected: an entry of a later term came first, so it never will
// be. It is Unknown with an error: ctx's, or ErrForgotten.
//
// Every entry is watched on its own: one batch may hold the proposal, the end of
// its term, and another term's entry with the same sequence.
func (l *Loader) Resolve(ctx context.Context, term, sequence uint64) (index uint64, o consensus.Outcome, err error) {
	for {
		l.mu.Lock()
		o, err := l.ended.judge(l.settled.Gate, term, sequence)
		index, changed := l.settled.Index, l.changed
		l.mu.Unlock()
		if o != consensus.Unknown || err != nil {
			return index, o, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, consensus.Unknown, fmt.Errorf("resolve proposal %d of term %d: %w", sequence, term, ctx.Err())
		}
	}
}
