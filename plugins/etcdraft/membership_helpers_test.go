package etcdraft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/quorate/quorate/consensus"
)

// member returns replica i as a change names it.
func (c *cluster) member(i int) consensus.Member {
	return consensus.Member{ReplicaID: uint64(i + 1), BrokerID: int32(i + 1), Address: c.listen[i]}
}

// membership is the one that the leader knows.
func (c *cluster) membership() consensus.Membership {
	c.t.Helper()
	i, _ := c.leader(c.groups)
	return c.groups[i].Members()
}

// change makes changes through whoever leads. What a leader that was lost left
// open is looked up.
func (c *cluster) change(changes ...consensus.Change) consensus.Membership {
	c.t.Helper()
	var m consensus.Membership
	eventually(c.t, "the members to be changed", func() bool {
		i, _ := c.leader(c.groups)
		before := c.groups[i].Members()
		if made(before, changes) && !before.Pending {
			m = before
			return true
		}
		var err error
		m, err = c.groups[i].(consensus.MembershipChanger).ChangeMembers(c.t.Context(), before.ConfigIndex, changes)
		if errors.Is(err, consensus.ErrInvalidArgument) {
			c.t.Fatalf("change %+v of %+v: %v", changes, before, err)
		}
		return err == nil
	})
	if m.Pending || len(m.Outgoing) > 0 || !made(m, changes) {
		c.t.Fatalf("after %+v: %+v", changes, m)
	}
	return m
}

// made tells whether m is as changes want it.
func made(m consensus.Membership, changes []consensus.Change) bool {
	for _, change := range changes {
		i := slices.IndexFunc(m.Members, func(o consensus.Member) bool { return o.ReplicaID == change.Member.ReplicaID })
		ok := i >= 0
		switch change.Op {
		case consensus.AddLearner, consensus.Demote:
			ok = ok && m.Members[i].Role == consensus.LearnerMember
		case consensus.Promote:
			ok = ok && m.Members[i].Role == consensus.Voter
		case consensus.Remove:
			ok = !ok
		case consensus.SetAddress:
			ok = ok && m.Members[i].Address == change.Member.Address
		}
		if !ok {
			return false
		}
	}
	return true
}

// awaitCaughtUp waits until replica i has delivered what is committed now.
func (c *cluster) awaitCaughtUp(i int) {
	c.t.Helper()
	last := c.commit([]byte("a mark to reach")).Index
	eventually(c.t, fmt.Sprintf("replica %d to catch up to %d", i+1, last), func() bool {
		return c.groups[i].Status().CommitIndex >= last
	})
}

// grow adds replica i as a learner, waits until it has caught up, and promotes it.
func (c *cluster) grow(i int) {
	c.t.Helper()
	c.change(consensus.Change{Op: consensus.AddLearner, Member: c.member(i)})
	c.awaitCaughtUp(i)
	c.awaitRole(i, consensus.Learner)
	c.change(consensus.Change{Op: consensus.Promote, Member: consensus.Member{ReplicaID: uint64(i + 1)}})
}

func (c *cluster) awaitRole(i int, want consensus.Role) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("replica %d to be %s", i+1, want), func() bool {
		l, _ := c.groups[i].Leadership()
		return l.Role == want
	})
}

func (c *cluster) remove(i int) consensus.Membership {
	c.t.Helper()
	return c.change(consensus.Change{Op: consensus.Remove, Member: consensus.Member{ReplicaID: uint64(i + 1)}})
}

// wantAddresses checks that replica i knows where every member is.
func (c *cluster) wantAddresses(i int) {
	c.t.Helper()
	want := c.membership()
	eventually(c.t, fmt.Sprintf("replica %d to know the members", i+1), func() bool {
		return c.groups[i].Members().ConfigIndex == want.ConfigIndex
	})
	for _, m := range c.groups[i].Members().Members {
		if m.Address != c.listen[m.ReplicaID-1] {
			c.t.Errorf("replica %d believes replica %d to be at %q, it is at %q", i+1, m.ReplicaID, m.Address, c.listen[m.ReplicaID-1])
		}
	}
}
