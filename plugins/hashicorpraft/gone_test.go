package hashicorpraft

import (
	"context"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// A leader whose process is gone is found to be, and another one is elected.
func TestLeaderGone(t *testing.T) {
	for range 5 {
		c := bootstrap(t, 3)
		n, before := c.leader()
		for _, other := range c.all() {
			c.eventually("all are connected to the leader", func() bool {
				l, _ := other.group.Leadership()
				return other == n || l.Term > before.Term || l.Leader == n.member.ReplicaID && other.backend.streams.connected(n.member.ReplicaID)
			})
		}
		n.end()
		next, l := c.leader()
		if next == n || l.Leader == n.member.ReplicaID {
			t.Errorf("%+v leads after it has ended", l)
		}
		found := uint64(0)
		for _, other := range c.all() {
			found += other.group.leadersGone.Load()
			c.eventually("the time-outs are the usual ones again", func() bool {
				return other.group.raft.ReloadableConfig() == other.group.timing
			})
		}
		if found > 0 {
			return
		}
		t.Log("on a busy machine another leader may have been elected before; again")
	}
	t.Error("nobody found that the leader was gone")
}

// A leader that lives is not taken for gone because a connection ends.
func TestLeaderLives(t *testing.T) {
	c := bootstrap(t, 3)
	n, _ := c.leader()
	for _, other := range c.all() {
		for _, who := range []uint64{n.member.ReplicaID, other.member.ReplicaID, consensus.NoLeader, 99} {
			other.group.forgetLeader(context.Background(), who)
			if got := other.group.leadersGone.Load(); got != 0 {
				t.Errorf("replica %d took replica %d for gone", other.member.ReplicaID, who)
			}
		}
	}
}

// The only voter leads without waiting for a time-out, and goes on with the usual ones.
func TestAloneAtOnce(t *testing.T) {
	c := newCluster(t)
	c.timing = consensus.Timing{Heartbeat: 20 * time.Millisecond, ElectionTimeout: 10 * time.Minute}
	n := c.start(1, 1)
	n.open(consensus.OpenBootstrap, n.member)
	c.leader()
	c.eventually("the time-outs are the usual ones again", func() bool {
		return n.group.raft.ReloadableConfig() == n.group.timing
	})
}
