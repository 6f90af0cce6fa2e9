package kit_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/quorate/quorate/consensus"
)

// role is what a replica counts as; 0 if it is no member. The caller holds mu.
func (c *cluster) role(id uint64) consensus.MemberRole {
	for _, m := range c.members {
		if m.ReplicaID == id {
			return m.Role
		}
	}
	return 0
}

func (c *cluster) isMember(id uint64) bool { return c.role(id) != 0 }

// counts tells whether a replica votes.
func (c *cluster) counts(id uint64) bool { return c.role(id) == consensus.Voter }

// quorum tells whether a majority of the voters is up and connected.
func (c *cluster) quorum() bool {
	all, here := 0, 0
	connected := c.connected()
	for _, m := range c.members {
		if m.Role != consensus.Voter && !c.wrong.learnersCount {
			continue
		}
		all++
		if connected[m.ReplicaID] != nil {
			here++
		}
	}
	return here > all/2
}

// connected are the replicas that are up and believe each other: the largest
// such set.
func (c *cluster) connected() map[uint64]*replica {
	best := map[uint64]*replica{}
	for _, r := range c.up {
		friends := map[uint64]*replica{}
		for id, other := range c.up {
			if c.wrong.believesAll || r.peer.believes(other.peer) && other.peer.believes(r.peer) {
				friends[id] = other
			}
		}
		if len(friends) > len(best) {
			best = friends
		}
	}
	return best
}

// stranger sets what a replica says that is no voter, and returns true.
func (b *replica) stranger(l *consensus.Leadership) bool {
	c := b.c
	switch {
	case c.removed[b.id]:
		l.Role = consensus.Removed
		if c.wrong.removedFollows {
			l.Role = consensus.Follower
		}
	case !c.isMember(b.id):
		*l = consensus.Leadership{Role: consensus.Follower}
		switch {
		case c.wrong.joinerStands:
			l.Role = consensus.Candidate
		case c.wrong.joinerRemoved:
			l.Role = consensus.Removed
		}
	case !c.counts(b.id):
		l.Role = consensus.Learner
	default:
		return false
	}
	return true
}

// peersOf is what the leader says of the others.
func (c *cluster) peersOf(id uint64) (peers []consensus.PeerStatus) {
	if c.leader != id {
		return nil
	}
	for _, m := range c.members {
		if d := c.disks[m.ReplicaID]; d != nil && m.ReplicaID != id {
			peers = append(peers, consensus.PeerStatus{ReplicaID: m.ReplicaID, Match: d.last()})
		}
	}
	return peers
}

// ChangeMembers implements consensus.MembershipChanger.
func (b *replica) ChangeMembers(_ context.Context, expect uint64, changes []consensus.Change) (consensus.Membership, error) {
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	var none consensus.Membership
	switch {
	case c.leader != b.id || !c.quorum() || c.refuses():
		return none, consensus.ErrNotLeader
	case expect != c.config && !c.wrong.anyConfig:
		return none, consensus.ErrStaleConfig
	}
	if c.wrong.makesNoChange {
		return consensus.Membership{Members: slices.Clone(c.members), ConfigIndex: c.config + 1}, nil
	}
	if c.wrong.halfJoint {
		changes = changes[:1]
	}
	members := slices.Clone(c.members)
	for _, change := range changes {
		var err error
		if members, err = c.with(members, change); err != nil {
			return none, err
		}
	}
	c.config = c.append(consensus.Entry{Internal: true})
	c.settle() // who is taken out helps to commit that
	c.members = members
	c.settle()
	return consensus.Membership{Members: slices.Clone(c.members), ConfigIndex: c.config}, nil
}

// with makes one change.
func (c *cluster) with(members []consensus.Member, change consensus.Change) ([]consensus.Member, error) {
	i := slices.IndexFunc(members, func(m consensus.Member) bool { return m.ReplicaID == change.Member.ReplicaID })
	if (i < 0) != (change.Op == consensus.AddLearner) {
		return nil, fmt.Errorf("%w: replica %d", consensus.ErrInvalidArgument, change.Member.ReplicaID)
	}
	switch change.Op {
	case consensus.AddLearner:
		m := change.Member
		m.Role = consensus.LearnerMember
		return append(members, m), nil
	case consensus.Promote:
		members[i].Role = consensus.Voter
	case consensus.Demote:
		members[i].Role = consensus.LearnerMember
	case consensus.Remove:
		c.removed[members[i].ReplicaID] = true
		return slices.Delete(members, i, i+1), nil
	default:
		if c.wrong.strangeChanges {
			members[i].Address = "127.0.0.1:2"
			return members, nil
		}
		return nil, fmt.Errorf("%w: change %d", consensus.ErrInvalidArgument, change.Op)
	}
	return members, nil
}
