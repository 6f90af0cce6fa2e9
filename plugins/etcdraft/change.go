package etcdraft

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

// changeContext travels in a configuration entry beside what raft makes of it.
type changeContext struct {
	// Members are those that were added, or of which something else is known now.
	Members []consensus.Member `json:"members,omitempty"`
	// Base is the configuration before the change. The first one is in no entry,
	// so a replica that joined and reads the log from its beginning starts here.
	Base config `json:"base"`
}

// parseChange returns what is in a configuration entry. Raft leaves a joint
// configuration with an entry that is empty.
func parseChange(cc *raftpb.ConfChangeV2) (changeContext, error) {
	var c changeContext
	if len(cc.GetContext()) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(cc.GetContext(), &c); err != nil {
		return c, fmt.Errorf("parse membership change: %w", err)
	}
	return c, nil
}

// planChange turns changes of c into what raft is asked for. More than one change
// of who decides is made through a joint configuration, which raft leaves by itself.
func planChange(c config, changes []consensus.Change) (*raftpb.ConfChangeV2, error) {
	if len(changes) == 0 {
		return nil, fmt.Errorf("%w: no changes", consensus.ErrInvalidArgument)
	}
	plan := changePlan{c: c, voters: len(c.Voters), members: len(c.Members)}
	for i, change := range changes {
		for _, other := range changes[:i] {
			if other.Member.ReplicaID == change.Member.ReplicaID {
				return nil, fmt.Errorf("%w: two changes of replica %d", consensus.ErrInvalidArgument, change.Member.ReplicaID)
			}
		}
		if err := plan.add(change); err != nil {
			return nil, err
		}
	}
	if plan.voters < 1 {
		return nil, fmt.Errorf("%w: no voter would be left", consensus.ErrInvalidArgument)
	}
	if plan.members > maxMembers {
		return nil, fmt.Errorf("%w: %d members, the limit is %d", consensus.ErrInvalidArgument, plan.members, maxMembers)
	}
	if len(plan.singles) == 0 { // an entry without any would leave a joint configuration
		plan.single(raftpb.ConfChangeUpdateNode, changes[0].Member.ReplicaID)
	}
	context, err := json.Marshal(changeContext{Members: plan.known, Base: c})
	if err != nil {
		return nil, err
	}
	return &raftpb.ConfChangeV2{Changes: plan.singles, Context: context}, nil
}

// changePlan is what planChange has found so far.
type changePlan struct {
	c               config
	singles         []*raftpb.ConfChangeSingle
	known           []consensus.Member
	voters, members int
}

func (p *changePlan) single(kind raftpb.ConfChangeType, replica uint64) {
	p.singles = append(p.singles, &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(replica)})
}

func (p *changePlan) add(change consensus.Change) error {
	m := change.Member
	id := m.ReplicaID
	before, isMember := p.c.member(id)
	isVoter := slices.Contains(p.c.Voters, id)
	refuse := func(why string) error {
		return fmt.Errorf("%w: replica %d %s", consensus.ErrInvalidArgument, id, why)
	}
	switch {
	case id == consensus.NoLeader || id > maxIndex:
		return refuse("has no possible id")
	case change.Op != consensus.AddLearner && !isMember:
		return refuse("is not a member")
	}
	switch change.Op {
	case consensus.AddLearner:
		return p.addLearner(m, isMember, refuse)
	case consensus.Promote:
		if isVoter {
			return refuse("is a voter already")
		}
		p.single(raftpb.ConfChangeAddNode, id)
		p.voters++
	case consensus.Demote:
		if !isVoter {
			return refuse("is not a voter")
		}
		p.single(raftpb.ConfChangeAddLearnerNode, id)
		p.voters--
	case consensus.Remove:
		p.single(raftpb.ConfChangeRemoveNode, id)
		p.members--
		if isVoter {
			p.voters--
		}
	case consensus.SetAddress:
		if m.Address == "" {
			return refuse("is given no address")
		}
		before.Address = m.Address
		p.known = append(p.known, before)
	default:
		return fmt.Errorf("%w: change %d", consensus.ErrUnsupported, change.Op)
	}
	return nil
}

func (p *changePlan) addLearner(m consensus.Member, isMember bool, refuse func(string) error) error {
	switch {
	case isMember:
		return refuse("is a member already")
	case slices.Contains(p.c.Removed, m.ReplicaID):
		return refuse("was removed, and ids are not used again")
	case m.Address == "":
		return refuse("is given no address")
	case m.Role == consensus.WitnessMember:
		return fmt.Errorf("%w: witnesses", consensus.ErrUnsupported)
	}
	m.Role = consensus.LearnerMember
	p.single(raftpb.ConfChangeAddLearnerNode, m.ReplicaID)
	p.known = append(p.known, m)
	p.members++
	return nil
}
