package consensustest

import (
	"context"
	"fmt"
	"slices"

	"github.com/quorate/quorate/consensus"
)

// Propose implements consensus.Client.
func (f *Fake) Propose(ctx context.Context, p consensus.Proposal) consensus.Result {
	if p.Group != consensus.Metadata {
		return consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrGroupNotFound}
	}
	p.Data = slices.Clone(p.Data)
	waited := false
	for {
		result, changed := f.tryPropose(p, waited)
		if changed == nil {
			return result
		}
		waited = true
		select {
		case <-changed:
		case <-ctx.Done():
			return f.count(consensus.Result{Outcome: consensus.Unknown, Err: fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())})
		}
	}
}

func (f *Fake) count(r consensus.Result) consensus.Result {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	return f.countLocked(r)
}

func (f *Fake) countLocked(r consensus.Result) consensus.Result {
	switch r.Outcome {
	case consensus.Committed:
		f.c.counts.committed++
	case consensus.Rejected:
		f.c.counts.rejected++
	default:
		f.c.counts.unknown++
	}
	return r
}

// tryPropose decides p, or returns a channel to wait on while proposals are held.
func (f *Fake) tryPropose(p consensus.Proposal, waited bool) (consensus.Result, <-chan struct{}) {
	c := f.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := f.refuseLocked(p); err != nil {
		if waited {
			return f.countLocked(consensus.Result{Outcome: consensus.Unknown, Err: fmt.Errorf("%w: %w", consensus.ErrLeadershipLost, err)}), nil
		}
		return f.countLocked(consensus.Result{Outcome: consensus.Rejected, Err: err}), nil
	}
	if c.held {
		return consensus.Result{}, c.changed
	}
	return f.countLocked(f.decideLocked(p)), nil
}

// refuseLocked returns why p can not be accepted: the checks that the SDK makes.
func (f *Fake) refuseLocked(p consensus.Proposal) error {
	switch c := f.c; {
	case f.down:
		return consensus.ErrUnavailable
	case c.leader != f.id:
		return consensus.ErrNotLeader
	case c.term != p.Term:
		return fmt.Errorf("%w: it is %d, not %d", consensus.ErrTermMismatch, c.term, p.Term)
	case p.Sequence != c.sequence+1:
		return fmt.Errorf("%w: want %d, got %d", consensus.ErrOutOfSequence, c.sequence+1, p.Sequence)
	case len(p.Data) > 1<<20:
		return consensus.ErrTooLarge
	}
	return nil
}

func (f *Fake) decideLocked(p consensus.Proposal) consensus.Result {
	c := f.c
	lost := fmt.Errorf("%w: as the test asked", consensus.ErrLeadershipLost)
	switch c.takeFaultLocked() {
	case RejectedOverloaded:
		return consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrOverloaded}
	case UnknownLost:
		c.sequence = p.Sequence
		return consensus.Result{Err: lost}
	case UnknownCommitted:
		c.sequence = p.Sequence
		c.appendLocked(consensus.Entry{Data: p.Data})
		return consensus.Result{Err: lost}
	}
	c.sequence = p.Sequence
	c.appendLocked(consensus.Entry{Data: p.Data})
	return consensus.Result{Outcome: consensus.Committed, Index: c.lastLocked()}
}

// Subscribe implements consensus.Client.
func (f *Fake) Subscribe(ctx context.Context, g consensus.GroupID, from uint64, handle func(consensus.Batch) error) error {
	if g != consensus.Metadata {
		return consensus.ErrGroupNotFound
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch, changed, err := f.read(from)
		if err != nil {
			return err
		}
		if changed != nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if err := handle(batch); err != nil {
			return err
		}
		from += uint64(len(batch.Entries))
	}
}

// read returns the entries at from, or a channel to wait on.
func (f *Fake) read(from uint64) (consensus.Batch, <-chan struct{}, error) {
	c := f.c
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.lastLocked()
	switch {
	case f.down || f.paused:
		return consensus.Batch{}, c.changed, nil
	case from < f.first:
		return consensus.Batch{}, nil, fmt.Errorf("read from %d, the log begins at %d: %w", from, f.first, consensus.ErrCompacted)
	case from > last+1:
		return consensus.Batch{}, nil, fmt.Errorf("read from %d, the log ends at %d: %w", from, last, consensus.ErrAheadOfLog)
	case from == last+1:
		return consensus.Batch{}, c.changed, nil
	}
	end := min(from-1+fakeBatch, last)
	return consensus.Batch{Entries: cloneEntries(c.entries[from-1 : end]), Commit: last}, nil, nil
}
