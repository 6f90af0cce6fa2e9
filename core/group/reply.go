package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// noGeneration is the generation in the answer to a JoinGroup that failed.
const noGeneration = -1

func newJoinResponse(version int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = version
	resp.Generation = noGeneration
	return resp
}

// fail answers a JoinGroup with an error.
func (r *joinReply) fail(memberID string, code protocol.ErrorCode) {
	resp := newJoinResponse(r.version)
	resp.MemberID = memberID
	resp.ErrorCode = int16(code)
	r.to.Send(resp)
}

// current is what a member is told of the group's generation. Only the leader
// of a rebalance gets the members, and then has to assign.
func (r *joinReply) current(g *group, m *member, withMembers bool) *kmsg.JoinGroupResponse {
	resp := newJoinResponse(r.version)
	resp.Generation = g.generation
	resp.ProtocolType = new(g.protocolType)
	resp.Protocol = new(g.protocol)
	resp.LeaderID = g.leader
	resp.MemberID = m.id
	if withMembers {
		resp.Members = g.describeForLeader()
	}
	return resp
}

func (g *group) describeForLeader() []kmsg.JoinGroupResponseMember {
	members := make([]kmsg.JoinGroupResponseMember, 0, len(g.members))
	for _, m := range g.inOrder() {
		rm := kmsg.NewJoinGroupResponseMember()
		rm.MemberID = m.id
		rm.InstanceID = m.instance
		rm.ProtocolMetadata = m.metadata(g.protocol)
		members = append(members, rm)
	}
	return members
}

func newSyncResponse(version int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = version
	return resp
}

// fail answers a SyncGroup with an error.
func (r *syncReply) fail(code protocol.ErrorCode) {
	resp := newSyncResponse(r.version)
	resp.ErrorCode = int16(code)
	r.to.Send(resp)
}

// assigned is what a member has to do in the group's generation.
func (r *syncReply) assigned(g *group, m *member) *kmsg.SyncGroupResponse {
	resp := newSyncResponse(r.version)
	resp.ProtocolType = new(g.protocolType)
	resp.Protocol = new(g.protocol)
	resp.MemberAssignment = m.assignment
	return resp
}

// failJoin answers the member's JoinGroup, if one waits.
func (m *member) failJoin(code protocol.ErrorCode) {
	if m.join != nil {
		m.join.fail(m.id, code)
		m.join = nil
	}
}

// failSync answers the member's SyncGroup, if one waits.
func (m *member) failSync(code protocol.ErrorCode) {
	if m.sync != nil {
		m.sync.fail(code)
		m.sync = nil
	}
}
