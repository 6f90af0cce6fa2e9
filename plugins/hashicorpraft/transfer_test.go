package hashicorpraft

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// The lead goes round under load: proposals are rejected meanwhile, and those
// that were sent behind a rejected one must not be applied before it, or twice.
func TestTransferUnderLoad(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 3)
	stop := c.load(16)
	c.more(20)
	for range 4 {
		leader, at := c.leader()
		to := at.Leader%3 + 1
		if err := leader.group.TransferLeadership(t.Context(), to); err != nil {
			t.Logf("to replica %d: %v", to, err) // it may fail, but nothing may be lost
		} else if l, _ := leader.group.Leadership(); l.Term <= at.Term || l.Role == consensus.LeaderReady && l.Term == at.Term {
			t.Errorf("handed over, and still %+v after %+v", l, at)
		}
		c.more(20)
	}
	stop()
	c.check()
}

func TestTransferTo(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 3)
	stop := c.load(4)
	learner := c.start(4, 4).open(consensus.OpenJoin)
	as := learner.member
	as.Role = consensus.LearnerMember
	c.change(consensus.AddLearner, learner.member, hasMember(as))

	leader, at := c.leader()
	if err := leader.group.TransferLeadership(t.Context(), at.Leader); err != nil {
		t.Errorf("to itself: %v", err)
	}
	for _, to := range []uint64{4, 99} {
		if err := leader.group.TransferLeadership(t.Context(), to); !errors.Is(err, consensus.ErrInvalidArgument) {
			t.Errorf("to replica %d, who can not lead: %v", to, err)
		}
	}
	for _, n := range c.all() {
		if n != leader && n != learner {
			if err := n.group.TransferLeadership(t.Context(), at.Leader); !errors.Is(err, consensus.ErrNotLeader) {
				t.Errorf("a follower: %v", err)
			}
		}
	}
	dead := c.nodes[at.Leader%3+1]
	dead.end()
	if err := leader.group.TransferLeadership(t.Context(), dead.member.ReplicaID); err == nil {
		t.Error("handed over to a dead replica")
	}
	c.more(20) // and proposals are taken again
	if err := handOver(t, c); err != nil {
		t.Errorf("to whoever is best: %v", err)
	}
	c.more(20)
	stop()
	c.check()
}

// handOver hands over to whoever is best, again if that fails.
func handOver(t *testing.T, c *cluster) (err error) {
	for range 20 {
		leader, _ := c.leader()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err = leader.group.TransferLeadership(ctx, consensus.NoLeader)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}
