package etcdraft

import (
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// patientCluster has its first election because a test wants it, and no other one
// because of the election timeout, which is longer than any test.
func patientCluster(t *testing.T, n int) *cluster {
	t.Helper()
	c := newBoundCluster(t, n, nil, func(c *cluster) {
		c.timing = consensus.Timing{Heartbeat: 15 * time.Millisecond, ElectionTimeout: 30 * time.Minute}
	})
	c.openAll()
	first := c.groups[0].(*group)
	first.inbox.call(func() {
		if err := first.node.Campaign(); err != nil {
			t.Error(err)
		}
	})
	c.leader(c.groups)
	return c
}

// A leader whose process is gone is replaced at once, and not when it has been silent
// for an election timeout.
func TestLeaderGone(t *testing.T) {
	for _, n := range []int{3, 5} {
		c := patientCluster(t, n)
		before := c.commit([]byte("before"))
		// All have heard of the leader: an election needs a majority that forgets it.
		for _, g := range c.groups {
			eventually(t, "all have what is committed", func() bool {
				commit, _ := g.(*group).delivered.Get()
				l, _ := g.Leadership()
				return commit >= before.Index && l.Leader == 1
			})
		}
		c.stop(0)
		if _, l := c.leader(c.groups); l.Leader == 1 {
			t.Errorf("of %d: %+v", n, l)
		}
		if r := c.commit([]byte("after")); r.Index <= before.Index {
			t.Errorf("of %d: committed at %d, after %d", n, r.Index, before.Index)
		}
	}
}

// A leader that has only lost its connections stays the leader.
func TestLeaderOnlyDisconnected(t *testing.T) {
	c := patientCluster(t, 3)
	_, before := c.leader(c.groups)
	for _, b := range c.backends[1:] {
		b.transport.mu.Lock()
		for conn := range b.transport.inbound {
			_ = conn.Close()
		}
		b.transport.mu.Unlock()
	}
	c.commit([]byte("after"))
	if _, l := c.leader(c.groups); l.Term != before.Term {
		t.Errorf("term %d after term %d", l.Term, before.Term)
	}
	for i, g := range c.groups {
		if n := g.(*group).leadersGone.Load(); n != 0 {
			t.Errorf("replica %d took its leader for gone %d times", i+1, n)
		}
	}
}
