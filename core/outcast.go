package core

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/protocol"
)

const (
	// leaderless is how long a node is without a leader before it asks the others
	// whether it is still one of them.
	leaderless = 3 * time.Second
	// outcastEvery is the time between two such questions.
	outcastEvery = 5 * time.Second
)

// Outcast tells whether Run ended because this node may not be part of the cluster as
// it is: starting it again would not change that.
func Outcast(err error) bool {
	switch protocol.CodeOf(err) {
	case protocol.InconsistentClusterID, protocol.InvalidVoterKey:
		return true
	}
	return errors.Is(err, ErrRemoved)
}

// outcast finds out that this node's replica was removed while the node was away. The
// others do not talk to it any more, and its backend may not know (rule M3 of the
// contract); it would wait for a leader for ever.
type outcast struct {
	self       Newcomer
	replica    uint64
	leadership func() (consensus.Leadership, <-chan struct{})
	log        *slog.Logger
}

// run returns ErrRemoved if this node's replica is no member any more, and nil when
// ctx ends.
func (o *outcast) run(ctx context.Context) error {
	pause := leaderless
	for {
		lead, changed := o.leadership()
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-changed:
			timer.Stop()
			pause = leaderless
			continue
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		if lead.Leader != consensus.NoLeader {
			continue
		}
		if o.removed(ctx) {
			return ErrRemoved
		}
		pause = outcastEvery
	}
}

// removed asks the leader, which the others know, for the members.
func (o *outcast) removed(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, joinRequest)
	defer cancel()
	j := newJoiner(o.self, o.log)
	defer j.pool.Close()
	j.admission.Replica = o.replica
	leader, err := j.leader(ctx)
	if err != nil {
		return false
	}
	member, err := j.look(ctx, leader)
	return err == nil && !member && len(j.admission.Members) > 0
}
