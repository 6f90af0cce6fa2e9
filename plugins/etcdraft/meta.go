package etcdraft

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

// config is a group's membership as of an index: raft's own view of it and where
// the members are.
type config struct {
	Index          uint64             `json:"index"`
	Voters         []uint64           `json:"voters"`
	Learners       []uint64           `json:"learners,omitempty"`
	VotersOutgoing []uint64           `json:"voters_outgoing,omitempty"`
	LearnersNext   []uint64           `json:"learners_next,omitempty"`
	AutoLeave      bool               `json:"auto_leave,omitempty"`
	Members        []consensus.Member `json:"members"`
	// Removed are the replicas that were members once, the newest maxRemoved:
	// ids are never used again.
	Removed []uint64 `json:"removed,omitempty"`
}

const maxRemoved = 1024

// snapshotMeta is what a snapshot mark in the log says besides index and term.
// It is stored as JSON; the content's file holds the host's bytes and nothing else.
type snapshotMeta struct {
	Config config `json:"config"`
	Format string `json:"format,omitempty"`
	Size   uint64 `json:"size,omitempty"`
	SHA256 []byte `json:"sha256,omitempty"`
}

func (m snapshotMeta) encode() ([]byte, error) { return json.Marshal(m) }

func parseSnapshotMeta(b []byte) (snapshotMeta, error) {
	var m snapshotMeta
	if len(b) == 0 {
		return m, nil
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("parse snapshot mark: %w", err)
	}
	return m, nil
}

// bootstrapConfig is the configuration that every initial member starts with.
func bootstrapConfig(self uint64, members []consensus.Member) (config, error) {
	var c config
	found := false
	for _, m := range members {
		if m.ReplicaID == consensus.NoLeader || m.ReplicaID > maxIndex {
			return config{}, fmt.Errorf("%w: replica id %d", consensus.ErrInvalidArgument, m.ReplicaID)
		}
		if slices.Contains(c.Voters, m.ReplicaID) || slices.Contains(c.Learners, m.ReplicaID) {
			return config{}, fmt.Errorf("%w: replica %d is named twice", consensus.ErrInvalidArgument, m.ReplicaID)
		}
		switch m.Role {
		case consensus.Voter, 0:
			c.Voters = append(c.Voters, m.ReplicaID)
		case consensus.LearnerMember:
			c.Learners = append(c.Learners, m.ReplicaID)
		default:
			return config{}, fmt.Errorf("%w: role %d of replica %d", consensus.ErrUnsupported, m.Role, m.ReplicaID)
		}
		found = found || m.ReplicaID == self
	}
	switch {
	case len(c.Voters) == 0:
		return config{}, fmt.Errorf("%w: no voters to bootstrap with", consensus.ErrInvalidArgument)
	case len(members) > maxMembers:
		return config{}, fmt.Errorf("%w: %d members, the limit is %d", consensus.ErrInvalidArgument, len(members), maxMembers)
	case !found:
		return config{}, fmt.Errorf("%w: replica %d is not among the initial members", consensus.ErrInvalidArgument, self)
	}
	slices.Sort(c.Voters)
	slices.Sort(c.Learners)
	c.Members = slices.Clone(members)
	return c, nil
}

func (c config) confState() *raftpb.ConfState {
	return &raftpb.ConfState{
		Voters: c.Voters, Learners: c.Learners, VotersOutgoing: c.VotersOutgoing, LearnersNext: c.LearnersNext,
		AutoLeave: new(c.AutoLeave),
	}
}

// with returns c with raft's new view as of index. Who is in it no more is
// noted as removed.
func (c config) with(index uint64, cs *raftpb.ConfState) config {
	c.Index = index
	c.Voters, c.Learners = cs.GetVoters(), cs.GetLearners()
	c.VotersOutgoing, c.LearnersNext, c.AutoLeave = cs.GetVotersOutgoing(), cs.GetLearnersNext(), cs.GetAutoLeave()
	var members []consensus.Member
	removed := slices.Clone(c.Removed)
	for _, m := range c.Members {
		if c.has(m.ReplicaID) {
			members = append(members, m)
		} else {
			removed = append(removed, m.ReplicaID)
		}
	}
	c.Members, c.Removed = members, removed[max(len(removed)-maxRemoved, 0):]
	return c
}

// withMember returns c with what is known of m; raft's view stays.
func (c config) withMember(m consensus.Member) config {
	c.Members = slices.DeleteFunc(slices.Clone(c.Members), func(o consensus.Member) bool { return o.ReplicaID == m.ReplicaID })
	c.Members = append(c.Members, m)
	return c
}

// joint tells whether both an old and a new majority decide.
func (c config) joint() bool { return len(c.VotersOutgoing) > 0 }

// member returns what is known of a replica.
func (c config) member(replica uint64) (consensus.Member, bool) {
	i := slices.IndexFunc(c.Members, func(m consensus.Member) bool { return m.ReplicaID == replica })
	if i < 0 {
		return consensus.Member{}, false
	}
	return c.Members[i], true
}

func (c config) has(replica uint64) bool {
	return slices.Contains(c.Voters, replica) || slices.Contains(c.Learners, replica) ||
		slices.Contains(c.VotersOutgoing, replica) || slices.Contains(c.LearnersNext, replica)
}

// membership is c as the contract has it.
func (c config) membership() consensus.Membership {
	pick := func(ids []uint64, role consensus.MemberRole) (members []consensus.Member) {
		for _, id := range ids {
			m, _ := c.member(id)
			m.ReplicaID, m.Role = id, role
			members = append(members, m)
		}
		return members
	}
	return consensus.Membership{
		Members:     append(pick(c.Voters, consensus.Voter), pick(c.Learners, consensus.LearnerMember)...),
		Outgoing:    pick(c.VotersOutgoing, consensus.Voter),
		ConfigIndex: c.Index,
		Pending:     c.joint(),
	}
}
