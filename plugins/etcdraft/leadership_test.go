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
	c.commit([]byte("x"))
	eventually(t, "another leader", func() bool {
		i, _ := c.leader(c.groups)
		to := uint64((i+1)%3 + 1)
		if err := c.groups[i].(consensus.LeadershipTransferer).TransferLeadership(t.Context(), to); err != nil {
			return false
		}
		l, _ := c.groups[to-1].Leadership()
		return l.Leader == to
	})
	i, _ := c.leader(c.groups)
	err := c.groups[(i+1)%3].(consensus.LeadershipTransferer).TransferLeadership(t.Context(), 1)
	if !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("transfer by a follower: %v", err)
	}
}
