package consensustest

import (
	"context"
	"fmt"
	"slices"

	"github.com/quorate/quorate/consensus"
)

// ChangeMembers implements consensus.Client: the membership in memory changes
// and gets an internal entry of its own. Who votes and who leads is up to the
// test as before.
func (f *Fake) ChangeMembers(_ context.Context, g consensus.GroupID, expectConfigIndex uint64, changes []consensus.Change) (consensus.Membership, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.checkLocked(g); err != nil {
		return consensus.Membership{}, err
	}
	switch {
	case f.c.leader != f.id:
		return consensus.Membership{}, consensus.ErrNotLeader
	case expectConfigIndex != f.c.configIndex:
		return consensus.Membership{}, fmt.Errorf("%w: it is that of index %d", consensus.ErrStaleConfig, f.c.configIndex)
	}
	members := slices.Clone(f.c.members)
	for _, c := range changes {
		var err error
		if members, err = changed(members, c); err != nil {
			return consensus.Membership{}, err
		}
	}
	f.c.members = members
	f.c.appendLocked(consensus.Entry{Internal: true})
	f.c.configIndex = f.c.lastLocked()
	return f.c.membershipLocked(), nil
}

func (c *FakeCluster) membershipLocked() consensus.Membership {
	return consensus.Membership{Members: slices.Clone(c.members), ConfigIndex: c.configIndex}
}

// peersLocked are the members beside the leader, who all have the whole log.
func (c *FakeCluster) peersLocked() []consensus.PeerStatus {
	var peers []consensus.PeerStatus
	for _, m := range c.members {
		if m.ReplicaID != c.leader {
			peers = append(peers, consensus.PeerStatus{ReplicaID: m.ReplicaID, Match: c.lastLocked(), Next: c.lastLocked() + 1, State: "replicate"})
		}
	}
	return peers
}

// changed returns members after c.
func changed(members []consensus.Member, c consensus.Change) ([]consensus.Member, error) {
	i := slices.IndexFunc(members, func(m consensus.Member) bool { return m.ReplicaID == c.Member.ReplicaID })
	if (i < 0) != (c.Op == consensus.AddLearner) {
		return nil, fmt.Errorf("%w: replica %d is or is not a member", consensus.ErrInvalidArgument, c.Member.ReplicaID)
	}
	switch c.Op {
	case consensus.AddLearner:
		added := c.Member
		added.Role = consensus.LearnerMember
		return append(members, added), nil
	case consensus.Promote:
		members[i].Role = consensus.Voter
	case consensus.Demote:
		members[i].Role = consensus.LearnerMember
	case consensus.Remove:
		return slices.Delete(members, i, i+1), nil
	case consensus.SetAddress:
		members[i].Address = c.Member.Address
	default:
		return nil, fmt.Errorf("%w: change %d", consensus.ErrInvalidArgument, c.Op)
	}
	return members, nil
}

// TransferLeadership implements consensus.Client: to leads in the next term.
func (f *Fake) TransferLeadership(_ context.Context, g consensus.GroupID, to uint64) error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.checkLocked(g); err != nil {
		return err
	}
	if f.c.leader != f.id {
		return consensus.ErrNotLeader
	}
	other := func(r *Fake) bool { return r.id != f.id && !r.down && (to == consensus.NoLeader || r.id == to) }
	i := slices.IndexFunc(f.c.replicas, other)
	if i < 0 {
		return fmt.Errorf("transfer leadership to %d: %w", to, consensus.ErrInvalidArgument)
	}
	f.c.electLocked(f.c.replicas[i].id, f.c.term+1)
	return nil
}

// Metrics implements consensus.Client; a Fake has none.
func (f *Fake) Metrics(context.Context) ([]consensus.Metric, error) {
	return nil, consensus.ErrUnsupported
}

// ReloadPeerTLS implements consensus.Client; a Fake has no peers to talk to.
func (f *Fake) ReloadPeerTLS(context.Context, consensus.PeerTLS) error {
	return consensus.ErrUnsupported
}
