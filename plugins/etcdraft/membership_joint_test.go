package etcdraft

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func change(op consensus.ChangeOp, i int) consensus.Change {
	return consensus.Change{Op: op, Member: consensus.Member{ReplicaID: uint64(i + 1)}}
}

func TestReplaceTwoAtOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	load := startLoad(c)
	c.join()
	c.join()
	c.change(consensus.Change{Op: consensus.AddLearner, Member: c.member(3)}, consensus.Change{Op: consensus.AddLearner, Member: c.member(4)})
	load.see()
	c.awaitCaughtUp(3)
	c.awaitCaughtUp(4)
	leader, _ := c.leader(c.groups)
	// The leader and another one go, whoever they are by then.
	other := (leader + 1) % 3
	m := c.change(change(consensus.Promote, 3), change(consensus.Promote, 4), change(consensus.Remove, leader), change(consensus.Demote, other))
	if len(m.Members) != 4 {
		t.Errorf("members %+v", m.Members)
	}
	c.awaitRole(leader, consensus.Removed)
	c.awaitRole(other, consensus.Learner)
	load.check(3)
	load.check(other)
	c.wantAddresses(4)
}

// saveSnapshot saves one of replica i at what it has delivered.
func (c *cluster) saveSnapshot(i int, content string) consensus.SnapshotMeta {
	c.t.Helper()
	g := c.groups[i]
	at := g.Status().CommitIndex
	entries, _, _, err := g.Read(at, 1)
	if err != nil || len(entries) == 0 {
		c.t.Fatalf("read %d: %v", at, err)
	}
	meta := consensus.SnapshotMeta{Index: at, Term: entries[0].Term, Format: "test"}
	if err := g.SaveSnapshot(c.t.Context(), meta, strings.NewReader(content)); err != nil {
		c.t.Fatalf("replica %d: save snapshot: %v", i+1, err)
	}
	return meta
}

func TestRestartInTheMiddleOfAJointChange(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.tuning = consensus.GroupTuning{RetainEntries: 1, RetainBytes: 1}
	c.openAll()
	for range 2 {
		i := c.join()
		c.change(consensus.Change{Op: consensus.AddLearner, Member: c.member(i)})
		c.awaitCaughtUp(i)
	}
	leader, _ := c.leader(c.groups)
	other := (leader + 1) % 3
	c.stop(3)
	c.stop(4)
	// The old voters can decide to enter the joint configuration, but the new
	// ones cannot decide to leave it while two of three are down.
	changes := []consensus.Change{
		change(consensus.Promote, 3), change(consensus.Promote, 4), change(consensus.Remove, leader), change(consensus.Remove, other),
	}
	started := make(chan error, 1)
	go func() {
		_, err := c.groups[leader].(consensus.MembershipChanger).ChangeMembers(t.Context(), c.groups[leader].Members().ConfigIndex, changes)
		started <- err
	}()
	eventually(t, "the old voters to be in the joint configuration", func() bool {
		for _, g := range c.groups[:3] {
			if m := g.Members(); !m.Pending || len(m.Outgoing) != 3 {
				return false
			}
		}
		return true
	})
	if err := <-started; !errors.Is(err, consensus.ErrLeadershipLost) {
		t.Errorf("a change without a quorum of the new voters: %v", err)
	}
	c.saveSnapshot(leader, "taken in the joint configuration")
	want := c.groups[leader].Members()
	for i := range 3 {
		c.restart(i)
	}
	if got := c.groups[leader].Members(); !reflect.DeepEqual(got, want) {
		t.Errorf("after the restart %+v, before %+v", got, want)
	}
	c.restart(3)
	c.restart(4)
	c.commit([]byte("x"))
	eventually(t, "the joint configuration to be left", func() bool {
		m := c.membership()
		return !m.Pending && made(m, changes) && len(m.Members) == 3
	})
	// Raft sends nothing to who is removed, and may have waited for an answer of it
	// (Raft thesis, 4.2.3): then the others tell it.
	c.awaitRole(leader, consensus.Removed)
	c.awaitRole(other, consensus.Removed)
	c.commit([]byte("without it"))
	c.awaitCaughtUp(4)
}

func TestJoinBySnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.tuning = consensus.GroupTuning{RetainEntries: 1, RetainBytes: 1}
	c.openAll()
	for range 10 {
		c.commit([]byte("below the snapshot"))
	}
	for i := range 3 {
		c.awaitCaughtUp(i)
		c.saveSnapshot(i, "the state")
	}
	// The new replica is in neither the snapshot's configuration nor in the
	// next one.
	leader, _ := c.leader(c.groups)
	moved := (leader + 1) % 3
	c.listen[moved] = "localhost" + strings.TrimPrefix(c.listen[moved], "127.0.0.1")
	c.change(consensus.Change{Op: consensus.SetAddress, Member: c.member(moved)})
	i := c.join()
	c.grow(i)
	c.wantAddresses(i)
	if _, content, err := c.groups[i].Snapshot(t.Context()); err != nil {
		t.Errorf("it joined without the snapshot: %v", err)
	} else {
		_ = content.Close()
	}
	leading, joined := c.groups[leader].(*group), c.groups[i].(*group)
	joined.mu.Lock()
	configs := append(history(nil), joined.history...)
	joined.mu.Unlock()
	if len(configs) != 4 { // the snapshot's, the move, the learner, the voter
		t.Errorf("%d configurations: %+v", len(configs), configs)
	}
	for _, got := range configs {
		if want := leading.configAt(got.Index); !reflect.DeepEqual(got.membership(), want.membership()) {
			t.Errorf("at %d the new replica has\n%+v, the leader\n%+v", got.Index, got, want)
		}
	}
	c.saveSnapshot(i, "its own")
	c.restart(i)
	c.wantAddresses(i)
	c.awaitCaughtUp(i)
}

// TestAwayWhileAllOthersWereReplaced: it knows none of the addresses to answer to.
func TestAwayWhileAllOthersWereReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	c.commit([]byte("x"))
	c.stop(2)
	for old := range 2 {
		c.grow(c.join())
		c.remove(old)
		c.awaitRole(old, consensus.Removed)
	}
	c.stop(0)
	c.stop(1)
	c.commit([]byte("y"))
	c.joined[2] = true // and its host does not know them either
	c.restart(2)
	c.awaitCaughtUp(2)
	c.wantAddresses(2)
	c.stop(3)
	c.commit([]byte("its vote counts"))
}

func TestLeaderDemotesItself(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	c.commit([]byte("x"))
	leader, _ := c.leader(c.groups)
	c.change(change(consensus.Demote, leader))
	c.awaitRole(leader, consensus.Learner)
	c.awaitCaughtUp(leader)
	if i, _ := c.leader(c.groups); i == leader {
		t.Error("a learner leads")
	}
	c.change(change(consensus.Promote, leader))
	c.awaitRole(leader, consensus.Follower)
}
