package etcdraft

import (
	"errors"
	"fmt"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func TestReadIndexOnEveryReplica(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	for n := range 20 {
		r := c.commit(fmt.Appendf(nil, "%d", n))
		for i, g := range c.groups {
			var index uint64
			eventually(t, "a read index", func() (ok bool) {
				var err error
				index, _, err = g.ReadIndex(t.Context())
				return err == nil
			})
			if index < r.Index {
				t.Fatalf("replica %d: read index %d after %d was committed", i+1, index, r.Index)
			}
		}
	}
	for i := range 2 { // nobody can confirm anything
		c.stop((i + 1) % 3)
	}
	for _, g := range c.groups {
		if g == nil {
			continue
		}
		if index, _, err := g.ReadIndex(t.Context()); !errors.Is(err, consensus.ErrTimeout) {
			t.Errorf("read index without a quorum: %d, %v", index, err)
		}
	}
}

func TestTransferLeadership(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	c.join()
	c.change(consensus.Change{Op: consensus.AddLearner, Member: c.member(3)})
	id := func(i int) uint64 { return uint64(i%3 + 1) }
	tests := []struct {
		name string
		to   func(leader int) uint64
		want error // nil = the leadership is there
	}{
		{"to the best", func(int) uint64 { return consensus.NoLeader }, nil},
		{"to a voter", func(leader int) uint64 { return id(leader + 1) }, nil},
		{"to itself", func(leader int) uint64 { return id(leader) }, nil},
		{"to a learner", func(int) uint64 { return 4 }, consensus.ErrInvalidArgument},
		{"to a stranger", func(int) uint64 { return 9 }, consensus.ErrInvalidArgument},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			var leader int
			var to uint64
			eventually(t, "the transfer to be answered as it should", func() bool {
				leader, _ = c.leader(c.groups)
				to = tt.to(leader)
				err = c.groups[leader].(consensus.LeadershipTransferer).TransferLeadership(t.Context(), to)
				return errors.Is(err, tt.want)
			})
			if err != nil {
				return
			}
			l, _ := c.groups[leader].Leadership()
			if to == consensus.NoLeader && l.Leader == uint64(leader+1) {
				t.Errorf("replica %d still leads", l.Leader)
			}
		})
	}
	leader, _ := c.leader(c.groups)
	err := c.groups[(leader+1)%3].(consensus.LeadershipTransferer).TransferLeadership(t.Context(), 1)
	if !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("transfer by a follower: %v", err)
	}
	down := (leader + 1) % 3
	c.stop(down)
	err = c.groups[leader].(consensus.LeadershipTransferer).TransferLeadership(t.Context(), uint64(down+1))
	if err == nil {
		t.Error("the leadership was transferred to a replica that is down")
	}
	c.commit([]byte("afterwards"))
}
