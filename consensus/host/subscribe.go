package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// resubscribePause is how long a subscription waits before it tries again on a
// session that is still there.
const resubscribePause = 200 * time.Millisecond

// errBroken marks a delivery that another stream can go on with.
var errBroken = errors.New("the delivery was interrupted")

// subscription is a position in a group's log that moves over sessions.
type subscription struct {
	group  consensus.GroupID
	ours   bool   // one of the groups that are always open, but for the moment of a repair
	next   uint64 // the index that must come next
	term   uint64 // of the last entry
	handle func(consensus.Batch) error
}

// Subscribe implements consensus.Client.
func (c *client) Subscribe(ctx context.Context, g consensus.GroupID, from uint64, handle func(consensus.Batch) error) error {
	sub := &subscription{group: g, ours: c.groups[g] != nil, next: from, handle: handle}
	for {
		s, err := c.await(ctx)
		if err != nil {
			return err
		}
		err = sub.deliver(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errBroken) {
			return err
		}
		c.log.Debug("delivery interrupted", "group", g, "next_index", sub.next, "error", err)
		select {
		case <-s.done:
		case <-time.After(resubscribePause):
		case <-ctx.Done():
		}
	}
}

// deliver reads one stream until it ends, and returns why.
func (sub *subscription) deliver(ctx context.Context, s *session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	stream, err := s.rpc.Subscribe(ctx, &consensuspb.SubscribeRequest{GroupId: uint64(sub.group), FromIndex: sub.next})
	if err != nil {
		return sub.streamError(err)
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return sub.streamError(err)
		}
		if m := resp.GetSnapshot(); m != nil {
			return fmt.Errorf("subscribe to group %d from %d: %w (it is at %d)", sub.group, sub.next, consensus.ErrCompacted, m.GetIndex())
		}
		batch := wire.BatchFromProto(resp.GetBatch())
		if err := sub.check(batch.Entries); err != nil {
			return err
		}
		if err := sub.handle(batch); err != nil {
			return err
		}
	}
}

// streamError keeps what the caller must act on and marks the rest as broken.
func (sub *subscription) streamError(err error) error {
	err = wire.FromStatus(err)
	if sub.ours && errors.Is(err, consensus.ErrGroupNotFound) {
		return fmt.Errorf("%w: %w", errBroken, err) // it is being opened again
	}
	for _, lasting := range []error{
		consensus.ErrAheadOfLog, consensus.ErrCompacted, consensus.ErrGroupNotFound, consensus.ErrInvalidArgument,
	} {
		if errors.Is(err, lasting) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

// check verifies rule D2 and moves on: a backend that leaves a gap must not get
// any further.
func (sub *subscription) check(entries []consensus.Entry) error {
	for _, e := range entries {
		if e.Index != sub.next {
			return fmt.Errorf("group %d: the backend delivered entry %d where %d must come", sub.group, e.Index, sub.next)
		}
		if e.Term < sub.term {
			return fmt.Errorf("group %d: entry %d has term %d after term %d was delivered", sub.group, e.Index, e.Term, sub.term)
		}
		sub.next, sub.term = e.Index+1, e.Term
	}
	return nil
}
