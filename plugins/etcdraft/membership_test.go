package etcdraft

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func TestGrowFromOneToThree(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "", nil)
	c.openAll()
	for n := range 20 {
		c.commit(fmt.Appendf(nil, "%d", n))
	}
	load := startLoad(c)
	for range 2 {
		i := c.join()
		if l, _ := c.groups[i].Leadership(); l.Role != consensus.Follower || l.Term != 0 {
			t.Errorf("a replica that waits to be added: %+v", l)
		}
		c.grow(i)
		load.see()
	}
	for i := range 3 {
		c.wantAddresses(i)
		load.check(i)
	}
	c.stop(0)
	c.commit([]byte("without the first"))
	c.restart(2)
	c.commit([]byte("with what the third has on its disk"))
}

func TestReplaceEveryReplica(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	load := startLoad(c)
	for old := range 3 {
		i := c.join()
		c.grow(i)
		load.see()
		c.remove(old)
		c.awaitRole(old, consensus.Removed)
		load.see()
	}
	for i := 3; i < 6; i++ {
		c.wantAddresses(i)
		load.check(i)
	}
	for old := range 3 {
		c.stop(old)
	}
	c.commit([]byte("the old ones are gone"))
	c.restart(4)
	c.restart(5)
	c.commit([]byte("the new ones have started again"))
	for _, m := range c.membership().Members {
		if m.ReplicaID < 4 {
			t.Errorf("%+v", m)
		}
	}
}

func TestRemoveTheLeader(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	c.commit([]byte("x"))
	i, _ := c.leader(c.groups)
	c.remove(i)
	c.awaitRole(i, consensus.Removed)
	c.commit([]byte("y"))
	if l, _ := c.leader(c.groups); l == i {
		t.Errorf("replica %d leads after its removal", i+1)
	}
	c.restart(i)
	c.awaitRole(i, consensus.Removed)
	if r := propose(c.groups[i], 1, nil); r.Outcome != consensus.Rejected {
		t.Errorf("propose to a removed replica: %+v", r)
	}
}

func TestRemoveAFollowerThatIsDown(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	c.commit([]byte("x"))
	leader, _ := c.leader(c.groups)
	down := (leader + 1) % 3
	c.stop(down)
	c.remove(down)
	for i, b := range c.backends {
		if b == nil {
			continue
		}
		eventually(t, fmt.Sprintf("replica %d to drop its sender", i+1), func() bool {
			return b.transport.peer(uint64(down+1)) == nil
		})
	}
	_, before := c.leader(c.groups)
	c.restart(down) // it knows nothing of its removal
	for range 50 {
		c.commit([]byte("y"))
	}
	c.awaitRole(down, consensus.Removed) // the others say so
	c.groups[down] = nil
	if _, after := c.leader(c.groups); after.Term != before.Term {
		t.Logf("the term went from %d to %d", before.Term, after.Term)
	}
	c.commit(bytes.Repeat([]byte("z"), 10))
	if _, err := c.groups[leader].(consensus.MembershipChanger).ChangeMembers(t.Context(), c.membership().ConfigIndex,
		[]consensus.Change{{Op: consensus.AddLearner, Member: c.member(down)}}); !errors.Is(err, consensus.ErrInvalidArgument) && !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("the id of a removed replica is used again: %v", err)
	}
}

func TestSetAddress(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	leader, _ := c.leader(c.groups)
	moved := (leader + 1) % 3
	c.stop(moved)
	c.listen[moved] = "" // another port
	c.bind(moved)
	c.members[moved].Address = "127.0.0.1:1" // what its host believes of itself does not matter
	c.groups[moved] = c.open(moved, consensus.Metadata)
	before := c.membership()
	m := c.change(consensus.Change{Op: consensus.SetAddress, Member: consensus.Member{ReplicaID: uint64(moved + 1), Address: c.listen[moved]}})
	if len(m.Members) != 3 || m.ConfigIndex <= before.ConfigIndex {
		t.Errorf("%+v after %+v", m, before)
	}
	for i := range 3 {
		c.wantAddresses(i)
		c.awaitCaughtUp(i)
	}
}
