package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/consensus"
)

const (
	// maxProposalBytes keeps a proposal in the size that every backend is good
	// at. It is also the size at which a round is full.
	maxProposalBytes = 512<<10 - 64
	// overloadPause is the time before a backend that is full is asked again.
	overloadPause = 10 * time.Millisecond
	// resolvePause is how long an unknown proposal is watched for before it is
	// made again, under the same name.
	resolvePause = time.Second
)

// errLost means that a proposal is certainly not in the log and never will be.
var errLost = errors.New("the proposal was not committed")

// flight is what became of a round's proposals.
type flight struct {
	indexes []uint64 // one for each that is committed: an index at which it is visible
	// held is for how long the backend did not take a proposal.
	held time.Duration
	// err is why the next one is not: errLost, or what kept it from being known.
	err error
}

// propose makes the proposals, one after the other: a proposal is made when the
// one before it is committed and visible.
func (t *term) propose(ctx context.Context, sequence uint64, payloads [][]byte) flight {
	var f flight
	for _, payload := range payloads {
		index, err := t.settle(ctx, sequence, payload, &f.held)
		if err != nil {
			f.err = err
			return f
		}
		f.indexes = append(f.indexes, index)
		sequence++
	}
	return f
}

// settle makes one proposal and returns when it is decided on the log, which
// alone counts: what the backend answers is advice. While the outcome is unknown
// the proposal is made again and again under the same (term, sequence): the gate
// admits it once, however often it is appended. The time for which the backend was
// too busy to take it is added to held.
func (t *term) settle(ctx context.Context, sequence uint64, payload []byte, held *time.Duration) (uint64, error) {
	envelope := consensus.Envelope{ExpectedTerm: t.number, Sequence: sequence, Payload: payload}
	p := consensus.Proposal{Group: consensus.Metadata, Term: t.number, Sequence: sequence, Data: envelope.Append(nil)}
	for sent := false; ; {
		result := t.c.client.Propose(ctx, p)
		switch {
		case sent || result.Outcome != consensus.Rejected:
		case errors.Is(result.Err, consensus.ErrOverloaded):
			*held += t.pushedBack(ctx)
			if ctx.Err() == nil {
				continue
			}
			return 0, fmt.Errorf("%w: %w", errLost, ctx.Err())
		default:
			t.c.log.Info("proposal refused", "term", t.number, "sequence", sequence, "error", result.Err)
			return 0, fmt.Errorf("%w: %w", errLost, result.Err)
		}
		if !sent && result.Outcome == consensus.Unknown {
			t.c.log.Warn("proposal's outcome is unknown, watching for it", "term", t.number, "sequence", sequence, "error", result.Err)
		}
		sent = true
		if result.Outcome == consensus.Committed && t.pressure.ease() {
			t.c.log.Info("the consensus backend takes proposals again", "term", t.number, "held", *held)
		}
		index, decided, err := t.resolve(ctx, sequence, result.Outcome == consensus.Committed)
		if decided {
			return index, err
		}
	}
}

// pushedBack waits before a backend that is full is asked again, and returns for
// how long.
func (t *term) pushedBack(ctx context.Context) time.Duration {
	begun := time.Now()
	if t.pressure.note(begun) {
		t.c.log.Warn("the consensus backend takes no proposals, clients are slowed down", "term", t.number)
	}
	wait(ctx, nil, overloadPause)
	return time.Since(begun)
}

// resolve watches for a proposal: to the end if it is known to be committed, for
// a while otherwise.
func (t *term) resolve(ctx context.Context, sequence uint64, committed bool) (index uint64, decided bool, err error) {
	watch, cancel := ctx, context.CancelFunc(func() {})
	if !committed {
		watch, cancel = context.WithTimeout(ctx, resolvePause)
	}
	defer cancel()
	index, outcome, err := t.c.images.Resolve(watch, t.number, sequence)
	switch {
	case outcome == consensus.Committed:
		return index, true, nil
	case outcome == consensus.Rejected:
		return 0, true, fmt.Errorf("%w: term %d is over", errLost, t.number)
	case ctx.Err() == nil && watch.Err() != nil:
		return 0, false, nil
	default:
		return 0, true, err
	}
}
