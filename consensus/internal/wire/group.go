package wire

import (
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// GroupSpecToProto translates the opening of a group.
func GroupSpecToProto(s consensus.GroupSpec) *consensuspb.OpenGroupRequest {
	return &consensuspb.OpenGroupRequest{
		GroupId:        uint64(s.ID),
		Name:           s.Name,
		Mode:           consensuspb.OpenMode(s.Mode),
		InitialMembers: each(s.Members, memberToProto),
		Tuning: &consensuspb.GroupTuning{
			RetainEntries:          s.Tuning.RetainEntries,
			RetainBytes:            s.Tuning.RetainBytes,
			SnapshotRequestEntries: s.Tuning.SnapshotRequestEntries,
			SnapshotRequestBytes:   s.Tuning.SnapshotRequestBytes,
		},
	}
}

// GroupSpecFromProto is the reverse of GroupSpecToProto.
func GroupSpecFromProto(p *consensuspb.OpenGroupRequest) consensus.GroupSpec {
	t := p.GetTuning()
	return consensus.GroupSpec{
		ID:      consensus.GroupID(p.GetGroupId()),
		Name:    p.GetName(),
		Mode:    consensus.OpenMode(known(p.GetMode(), consensuspb.OpenMode_name)),
		Members: each(p.GetInitialMembers(), memberFromProto),
		Tuning: consensus.GroupTuning{
			RetainEntries:          t.GetRetainEntries(),
			RetainBytes:            t.GetRetainBytes(),
			SnapshotRequestEntries: t.GetSnapshotRequestEntries(),
			SnapshotRequestBytes:   t.GetSnapshotRequestBytes(),
		},
	}
}

// known takes an enum value that has no name for unspecified (rule V2).
func known[E ~int32](value E, names map[int32]string) E {
	if _, ok := names[int32(value)]; !ok {
		return 0
	}
	return value
}

func memberToProto(m consensus.Member) *consensuspb.Member {
	return &consensuspb.Member{
		ReplicaId: m.ReplicaID, BrokerId: m.BrokerID, Address: m.Address, Role: consensuspb.MemberRole(m.Role),
	}
}

func memberFromProto(p *consensuspb.Member) consensus.Member {
	return consensus.Member{
		ReplicaID: p.GetReplicaId(), BrokerID: p.GetBrokerId(), Address: p.GetAddress(),
		Role: consensus.MemberRole(known(p.GetRole(), consensuspb.MemberRole_name)),
	}
}

// MembershipToProto translates a group's configuration.
func MembershipToProto(m consensus.Membership) *consensuspb.Membership {
	return &consensuspb.Membership{
		Members:        each(m.Members, memberToProto),
		OutgoingVoters: each(m.Outgoing, memberToProto),
		ConfigIndex:    m.ConfigIndex,
		Pending:        m.Pending,
	}
}

// MembershipFromProto is the reverse of MembershipToProto.
func MembershipFromProto(p *consensuspb.Membership) consensus.Membership {
	return consensus.Membership{
		Members:     each(p.GetMembers(), memberFromProto),
		Outgoing:    each(p.GetOutgoingVoters(), memberFromProto),
		ConfigIndex: p.GetConfigIndex(),
		Pending:     p.GetPending(),
	}
}

// ChangesToProto translates membership changes.
func ChangesToProto(cs []consensus.Change) []*consensuspb.MemberChange {
	return each(cs, func(c consensus.Change) *consensuspb.MemberChange {
		return &consensuspb.MemberChange{Op: consensuspb.MemberChange_Op(c.Op), Member: memberToProto(c.Member)}
	})
}

// ChangesFromProto is the reverse of ChangesToProto.
func ChangesFromProto(ps []*consensuspb.MemberChange) []consensus.Change {
	return each(ps, func(p *consensuspb.MemberChange) consensus.Change {
		return consensus.Change{Op: consensus.ChangeOp(known(p.GetOp(), consensuspb.MemberChange_Op_name)), Member: memberFromProto(p.GetMember())}
	})
}

// unknownBroker is the broker id of a leader that is not known.
const unknownBroker = -1

// LeadershipToProto translates a leadership; members name the leader's broker and address.
func LeadershipToProto(g consensus.GroupID, l consensus.Leadership, members consensus.Membership) *consensuspb.Leadership {
	p := &consensuspb.Leadership{
		GroupId:         uint64(g),
		Term:            l.Term,
		LeaderReplicaId: l.Leader,
		LeaderBrokerId:  unknownBroker,
		Role:            roleToProto(l.Role),
		ReadyIndex:      l.ReadyIndex,
	}
	for _, m := range members.Members {
		if l.Leader != consensus.NoLeader && m.ReplicaID == l.Leader {
			p.LeaderBrokerId, p.LeaderAddress = m.BrokerID, m.Address
		}
	}
	return p
}

// LeadershipFromProto is the reverse of LeadershipToProto.
func LeadershipFromProto(p *consensuspb.Leadership) consensus.Leadership {
	return consensus.Leadership{
		Term:       p.GetTerm(),
		Leader:     p.GetLeaderReplicaId(),
		Role:       roleFromProto(p.GetRole()),
		ReadyIndex: p.GetReadyIndex(),
	}
}

// The contract's roles start at 0 and the wire's at 1, where 0 is "not set".
func roleToProto(r consensus.Role) consensuspb.Role { return consensuspb.Role(r + 1) }

// roleFromProto takes what it does not know for a follower: that one does nothing.
func roleFromProto(p consensuspb.Role) consensus.Role {
	if p <= consensuspb.Role_ROLE_UNSPECIFIED || p > consensuspb.Role_ROLE_REMOVED {
		return consensus.Follower
	}
	return consensus.Role(p - 1)
}

// StatusToProto translates a group's status.
func StatusToProto(g consensus.GroupID, s consensus.Status, members consensus.Membership) *consensuspb.GroupStatus {
	return &consensuspb.GroupStatus{
		Leadership:         LeadershipToProto(g, s.Leadership, members),
		FirstIndex:         s.FirstIndex,
		LastIndex:          s.LastIndex,
		CommitIndex:        s.CommitIndex,
		SnapshotIndex:      s.SnapshotIndex,
		LogBytes:           s.LogBytes,
		CommittedTotal:     s.Committed,
		RejectedTotal:      s.Rejected,
		UnknownTotal:       s.UnknownTotal,
		LeaderChangesTotal: s.LeaderChanges,
		Peers:              each(s.Peers, peerToProto),
	}
}

// StatusFromProto is the reverse of StatusToProto.
func StatusFromProto(p *consensuspb.GroupStatus) consensus.Status {
	return consensus.Status{
		Leadership:    LeadershipFromProto(p.GetLeadership()),
		FirstIndex:    p.GetFirstIndex(),
		LastIndex:     p.GetLastIndex(),
		CommitIndex:   p.GetCommitIndex(),
		SnapshotIndex: p.GetSnapshotIndex(),
		LogBytes:      p.GetLogBytes(),
		Committed:     p.GetCommittedTotal(),
		Rejected:      p.GetRejectedTotal(),
		UnknownTotal:  p.GetUnknownTotal(),
		LeaderChanges: p.GetLeaderChangesTotal(),
		Peers:         each(p.GetPeers(), peerFromProto),
	}
}

func peerToProto(s consensus.PeerStatus) *consensuspb.PeerStatus {
	return &consensuspb.PeerStatus{
		ReplicaId:             s.ReplicaID,
		MatchIndex:            s.Match,
		NextIndex:             s.Next,
		InflightMessages:      s.InflightMessages,
		SendQueueLength:       s.QueueLength,
		SendQueueDroppedTotal: s.Dropped,
		LastContactMs:         uint64(max(s.LastContact, 0).Milliseconds()),
		State:                 s.State,
	}
}

func peerFromProto(p *consensuspb.PeerStatus) consensus.PeerStatus {
	return consensus.PeerStatus{
		ReplicaID:        p.GetReplicaId(),
		Match:            p.GetMatchIndex(),
		Next:             p.GetNextIndex(),
		InflightMessages: p.GetInflightMessages(),
		QueueLength:      p.GetSendQueueLength(),
		Dropped:          p.GetSendQueueDroppedTotal(),
		LastContact:      time.Duration(min(p.GetLastContactMs(), 1<<40)) * time.Millisecond,
		State:            p.GetState(),
	}
}
