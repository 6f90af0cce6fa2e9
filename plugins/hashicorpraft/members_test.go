package hashicorpraft

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// One node becomes three. The log of the first is compacted, so the second gets
// its members by snapshot; the third has another id than its broker.
func TestGrow(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.tuning.RetainEntries = 5
	first := c.start(1, 1)
	first.open(consensus.OpenBootstrap, first.member)
	stop := c.load(8)
	c.more(50)
	first.save()

	second := c.start(2, 2).open(consensus.OpenJoin)
	if l, _ := second.group.Leadership(); l.Term != 0 || l.Role != consensus.Follower {
		t.Errorf("waiting to be added: %+v", l)
	}
	if m := second.group.Members(); len(m.Members) != 0 {
		t.Errorf("waiting to be added: %+v", m)
	}
	c.add(second)
	c.more(50)
	third := c.start(33, 3).open(consensus.OpenJoin)
	c.add(third)
	c.more(50)
	stop()
	c.check()
	for _, n := range c.all() {
		c.eventually("all know the members", func() bool {
			m := n.group.Members()
			return hasMember(first.member)(m) && hasMember(second.member)(m) && hasMember(third.member)(m) && !m.Pending
		})
	}

	// What was learned outlives a restart, without the host's list.
	second.end()
	spec := consensus.GroupSpec{ID: consensus.Metadata, Mode: consensus.OpenRecover}
	cfg := second.backend.cfg
	again := newBackend()
	if err := again.Start(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	g, err := again.OpenGroup(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if m := g.Members(); !hasMember(third.member)(m) || m.ConfigIndex != first.group.Members().ConfigIndex {
		t.Errorf("after a restart: %+v", m)
	}
	if err := again.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Every node is replaced by another, one after the other, the leader among them.
func TestReplaceEveryNodeUnderLoad(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 3)
	c.tuning.RetainEntries = 20
	stop := c.load(8)
	c.more(20)
	for id := uint64(1); id <= 3; id++ {
		old := c.nodes[id]
		fresh := c.start(id+10, int32(id)).open(consensus.OpenJoin)
		leader, _ := c.leader()
		leader.save()
		c.add(fresh)
		c.remove(old)
		c.eventually("the removed replica knows", old.is(consensus.Removed))
		old.end()
		c.more(20)
	}
	stop()
	c.check()
	leader, _ := c.leader()
	if m := leader.group.Members(); len(m.Members) != 3 || !hasMember(c.nodes[11].member)(m) || c.nodes[11].member.BrokerID != 1 {
		t.Errorf("members in the end: %+v", m)
	}
}

func TestRemoveTheLeaderAndADeadFollower(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 4)
	stop := c.load(8)
	c.more(20)
	leader, _ := c.leader()
	for _, n := range c.all() {
		if n != leader {
			n.end()
			c.remove(n)
			break
		}
	}
	c.more(20)
	old, at := c.leader()
	c.remove(old)
	c.eventually("the removed leader knows", old.is(consensus.Removed))
	c.more(20)
	if _, now := c.leader(); now.Term <= at.Term || now.Leader == at.Leader {
		t.Errorf("after %+v was removed: %+v", at, now)
	}
	if _, _, err := old.group.ReadIndex(t.Context()); !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("a read index of a removed leader: %v", err)
	}
	stop()
	c.check()
	if l, _ := old.group.Leadership(); l.Role != consensus.Removed {
		t.Errorf("the removed leader is not quiet: %+v", l)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 1)
	n, _ := c.leader()
	here := n.group.Members().ConfigIndex
	learner := consensus.Member{ReplicaID: 9, BrokerID: 9, Address: "127.0.0.1:1"}
	tests := []struct {
		name    string
		expect  uint64
		changes []consensus.Change
		want    error
	}{
		{"none", here, nil, consensus.ErrInvalidArgument},
		{"two at once", here, []consensus.Change{{Op: consensus.AddLearner, Member: learner}, {Op: consensus.Remove, Member: n.member}}, consensus.ErrUnsupported},
		{"an older configuration", here + 1, []consensus.Change{{Op: consensus.AddLearner, Member: learner}}, consensus.ErrStaleConfig},
		{"no configuration", 0, []consensus.Change{{Op: consensus.AddLearner, Member: learner}}, consensus.ErrStaleConfig},
		{"a learner without an address", here, []consensus.Change{{Op: consensus.AddLearner, Member: consensus.Member{ReplicaID: 9}}}, consensus.ErrInvalidArgument},
		{"a member again", here, []consensus.Change{{Op: consensus.AddLearner, Member: n.member}}, consensus.ErrInvalidArgument},
		{"a member's address again", here, []consensus.Change{{Op: consensus.AddLearner, Member: consensus.Member{ReplicaID: 9, Address: n.member.Address}}}, consensus.ErrInvalidArgument},
		{"a stranger's promotion", here, []consensus.Change{{Op: consensus.Promote, Member: learner}}, consensus.ErrInvalidArgument},
		{"a voter's promotion", here, []consensus.Change{{Op: consensus.Promote, Member: n.member}}, consensus.ErrInvalidArgument},
		{"the last voter's demotion", here, []consensus.Change{{Op: consensus.Demote, Member: n.member}}, consensus.ErrInvalidArgument},
		{"the last voter's removal", here, []consensus.Change{{Op: consensus.Remove, Member: n.member}}, consensus.ErrInvalidArgument},
		{"what is no change", here, []consensus.Change{{Member: n.member}}, consensus.ErrInvalidArgument},
	}
	for _, tt := range tests {
		if _, err := n.group.ChangeMembers(t.Context(), tt.expect, tt.changes); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	if m := n.group.Members(); m.ConfigIndex != here || len(m.Members) != 1 {
		t.Errorf("the members have changed: %+v", m)
	}
}

// A voter becomes a learner, moves, and is a voter again; a change that can not
// be committed is pending, and another one is refused meanwhile.
func TestDemoteMoveAndPending(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 2)
	stop := c.load(4)
	leader, _ := c.leader()
	other := c.nodes[3-leader.member.ReplicaID]
	learner := other.member
	learner.Role = consensus.LearnerMember
	c.change(consensus.Demote, consensus.Member{ReplicaID: learner.ReplicaID}, hasMember(learner))
	c.eventually("the demoted knows", other.is(consensus.Learner))
	c.more(10)
	moved := learner
	moved.Address = "127.0.0.1:1" // nobody is there
	c.change(consensus.SetAddress, moved, hasMember(moved))
	c.change(consensus.SetAddress, learner, hasMember(learner))
	c.change(consensus.Promote, consensus.Member{ReplicaID: learner.ReplicaID}, hasMember(other.member))
	c.more(10)
	stop()
	c.check()

	leader, _ = c.leader()
	other = c.nodes[3-leader.member.ReplicaID]
	other.end()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	change := []consensus.Change{{Op: consensus.AddLearner, Member: consensus.Member{ReplicaID: 9, BrokerID: 9, Address: "127.0.0.1:2"}}}
	_, err := leader.group.ChangeMembers(ctx, leader.group.Members().ConfigIndex, change)
	if !errors.Is(err, consensus.ErrTimeout) && !errors.Is(err, consensus.ErrLeadershipLost) && !errors.Is(err, consensus.ErrNotLeader) {
		t.Errorf("a change without a quorum: %v", err)
	}
	if m := leader.group.Members(); len(m.Members) == 3 && !m.Pending {
		t.Errorf("committed without a quorum: %+v", m)
	}
}

func TestServerIDs(t *testing.T) {
	for _, m := range []consensus.Member{{ReplicaID: 3, BrokerID: 3}, {ReplicaID: 3, BrokerID: 0}, {ReplicaID: 1 << 60, BrokerID: 3}, {ReplicaID: 7, BrokerID: -1}} {
		if r, b := parseServerID(serverID(m.ReplicaID, m.BrokerID)); r != m.ReplicaID || b != m.BrokerID {
			t.Errorf("%+v became replica %d, broker %d", m, r, b)
		}
	}
	for _, id := range []string{"", "x", "1@", "1@x", "@1"} {
		if r := replicaID(raft.ServerID(id)); r != consensus.NoLeader {
			t.Errorf("%q is replica %d", id, r)
		}
	}
}
