package etcdraft

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func TestChangesThatAreRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	c.commit([]byte("x"))
	member := func(id uint64) consensus.Member { return consensus.Member{ReplicaID: id, Address: "127.0.0.1:1"} }
	one := func(op consensus.ChangeOp, id uint64) []consensus.Change {
		return []consensus.Change{{Op: op, Member: member(id)}}
	}
	tests := []struct {
		name    string
		stale   uint64 // added to the configuration's index
		changes []consensus.Change
		want    error
	}{
		{"stale", 7, one(consensus.AddLearner, 9), consensus.ErrStaleConfig},
		{"none", 0, nil, consensus.ErrInvalidArgument},
		{"add a member", 0, one(consensus.AddLearner, 2), consensus.ErrInvalidArgument},
		{"add nobody", 0, one(consensus.AddLearner, 0), consensus.ErrInvalidArgument},
		{"add without an address", 0, []consensus.Change{{Op: consensus.AddLearner, Member: consensus.Member{ReplicaID: 9}}}, consensus.ErrInvalidArgument},
		{"add a witness", 0, []consensus.Change{{Op: consensus.AddLearner, Member: consensus.Member{ReplicaID: 9, Address: "x:1", Role: consensus.WitnessMember}}}, consensus.ErrUnsupported},
		{"promote a voter", 0, one(consensus.Promote, 2), consensus.ErrInvalidArgument},
		{"promote a stranger", 0, one(consensus.Promote, 9), consensus.ErrInvalidArgument},
		{"demote a stranger", 0, one(consensus.Demote, 9), consensus.ErrInvalidArgument},
		{"remove a stranger", 0, one(consensus.Remove, 9), consensus.ErrInvalidArgument},
		{"move to nowhere", 0, []consensus.Change{{Op: consensus.SetAddress, Member: consensus.Member{ReplicaID: 2}}}, consensus.ErrInvalidArgument},
		{"no such change", 0, one(99, 2), consensus.ErrUnsupported},
		{"twice the same replica", 0, append(one(consensus.Demote, 2), one(consensus.Remove, 2)...), consensus.ErrInvalidArgument},
		{"no voter left", 0, slices.Concat(one(consensus.Remove, 1), one(consensus.Demote, 2), one(consensus.Remove, 3)), consensus.ErrInvalidArgument},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			eventually(t, "a leader to refuse", func() bool {
				i, _ := c.leader(c.groups)
				_, err = c.groups[i].(consensus.MembershipChanger).ChangeMembers(t.Context(), c.groups[i].Members().ConfigIndex+tt.stale, tt.changes)
				return !errors.Is(err, consensus.ErrNotLeader)
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if m := c.membership(); len(m.Members) != 3 || m.ConfigIndex != 0 {
		t.Errorf("the membership is %+v", m)
	}
}

func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, "", nil)
	c.openAll()
	c.commit([]byte("x"))
	expect := c.membership().ConfigIndex
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() {
			learner := consensus.Member{ReplicaID: uint64(10 + n), Address: "127.0.0.1:1"}
			_, errs[n] = c.groups[0].(consensus.MembershipChanger).ChangeMembers(t.Context(), expect,
				[]consensus.Change{{Op: consensus.AddLearner, Member: learner}})
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		switch {
		case err == nil:
			made++
		case !errors.Is(err, consensus.ErrConfigPending) && !errors.Is(err, consensus.ErrStaleConfig):
			t.Errorf("refused with %v", err)
		}
	}
	if m := c.membership(); made != 1 || len(m.Members) != 2 || m.ConfigIndex <= expect {
		t.Errorf("%d of the changes were made: %+v", made, m)
	}
}
