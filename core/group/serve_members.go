package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// JoinGroup answers JoinGroup (key 11), v0 to v9. It waits until the rebalance is
// over.
//
//	v4  a new member is first given its id, and joins with it (KIP-394)
//	v5  static members (KIP-345)
//	v9  a static leader that comes back is told not to assign (KIP-814)
func (c *Coordinator) JoinGroup(ctx context.Context, req *kmsg.JoinGroupRequest, client ClientInfo) *kmsg.JoinGroupResponse {
	refused := func(code protocol.ErrorCode) *kmsg.JoinGroupResponse {
		resp := newJoinResponse(req.Version)
		resp.MemberID, resp.ErrorCode = req.MemberID, int16(code)
		return resp
	}
	if req.Group == "" {
		return refused(protocol.InvalidGroupID)
	}
	if !c.allowsSession(req.SessionTimeoutMillis) {
		return refused(protocol.InvalidSessionTimeout)
	}
	resp, err := on(ctx, c, req.Group, func(m *machine, t *coordinator.Turn, r coordinator.Reply[*kmsg.JoinGroupResponse]) {
		m.join(t, req, client, r)
	})
	if err != nil {
		return refused(c.codeOf(err))
	}
	return resp
}

// SyncGroup answers SyncGroup (key 14), v0 to v5. A follower's waits for the
// leader's.
//
//	v5  names the protocol, which has to be the group's (KIP-559)
func (c *Coordinator) SyncGroup(ctx context.Context, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	refused := func(code protocol.ErrorCode) *kmsg.SyncGroupResponse {
		resp := newSyncResponse(req.Version)
		resp.ErrorCode = int16(code)
		return resp
	}
	if req.Group == "" {
		return refused(protocol.InvalidGroupID)
	}
	resp, err := on(ctx, c, req.Group, func(m *machine, t *coordinator.Turn, r coordinator.Reply[*kmsg.SyncGroupResponse]) {
		m.sync(t, req, r)
	})
	if err != nil {
		return refused(c.codeOf(err))
	}
	return resp
}

// Heartbeat answers Heartbeat (key 12), v0 to v4.
func (c *Coordinator) Heartbeat(ctx context.Context, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = req.Version
	if req.Group == "" {
		resp.ErrorCode = int16(protocol.InvalidGroupID)
		return resp
	}
	code, err := on(ctx, c, req.Group, func(m *machine, t *coordinator.Turn, r coordinator.Reply[protocol.ErrorCode]) {
		r.Send(m.heartbeat(t, req))
	})
	if err != nil {
		code = c.codeOf(err)
	}
	if code == protocol.CoordinatorLoadInProgress { // its session has not begun yet; as in Kafka
		code = protocol.None
	}
	resp.ErrorCode = int16(code)
	return resp
}

// LeaveGroup answers LeaveGroup (key 13), v0 to v5.
//
//	v3  several members, also static ones by their instance id alone
func (c *Coordinator) LeaveGroup(ctx context.Context, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = req.Version
	if req.Group == "" {
		resp.ErrorCode = int16(protocol.InvalidGroupID)
		return resp
	}
	members := req.Members
	if req.Version < leaveManyMembers {
		only := kmsg.NewLeaveGroupRequestMember()
		only.MemberID = req.MemberID
		members = []kmsg.LeaveGroupRequestMember{only}
	}
	codes, err := on(ctx, c, req.Group, func(m *machine, t *coordinator.Turn, r coordinator.Reply[[]protocol.ErrorCode]) {
		r.Send(m.leave(t, req.Group, members))
	})
	switch {
	case err != nil:
		resp.ErrorCode = int16(c.codeOf(err))
	case req.Version < leaveManyMembers:
		resp.ErrorCode = int16(codes[0])
	default:
		for i, code := range codes {
			lm := kmsg.NewLeaveGroupResponseMember()
			lm.MemberID, lm.InstanceID, lm.ErrorCode = members[i].MemberID, members[i].InstanceID, int16(code)
			resp.Members = append(resp.Members, lm)
		}
	}
	return resp
}
