package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/group"
	"github.com/quorate/quorate/protocol"
)

// groupCoordinator is the kind of key that names a consumer group.
const groupCoordinator = 0

// findCoordinator answers FindCoordinator (key 10), v0 to v5.
//
// The coordinator of a group is the leader of its partition of
// __consumer_offsets, which is created by the first request that needs it.
//
//	v4  several keys at once (KIP-699)
func (a *API) findCoordinator(ctx context.Context, s *Session, req *kmsg.FindCoordinatorRequest) (*kmsg.FindCoordinatorResponse, error) {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if req.CoordinatorType == groupCoordinator {
		if _, ok := a.images.Current().Topic(group.OffsetsTopic); !ok {
			a.createMissing(ctx, []kmsg.CreateTopicsRequestTopic{a.newTopic(group.OffsetsTopic)})
		}
	}
	if req.Version < 4 {
		e, err := a.coordinatorOf(s, req.CoordinatorType, req.CoordinatorKey)
		resp.NodeID, resp.Host, resp.Port = e.id, e.host, e.port
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp, nil
	}
	for _, key := range req.CoordinatorKeys {
		e, err := a.coordinatorOf(s, req.CoordinatorType, key)
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Host, c.Port = key, e.id, e.host, e.port
		c.ErrorCode, c.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp, nil
}

func (a *API) coordinatorOf(s *Session, kind int8, key string) (endpoint, error) {
	nowhere := endpoint{id: -1, port: -1}
	if kind != groupCoordinator {
		return nowhere, protocol.Errorf(protocol.InvalidRequest, "coordinator type %d is not served by this version; only groups (0) are", kind)
	}
	if key == "" {
		return nowhere, protocol.Errorf(protocol.InvalidGroupID, "the group id is empty")
	}
	img := a.images.Current()
	leader, _, ok := img.LeaderFor(group.OffsetsTopic, a.groups.PartitionFor(key))
	if !ok || leader < 0 {
		return nowhere, protocol.Errorf(protocol.CoordinatorNotAvailable, "%s has no leader for this group yet", group.OffsetsTopic)
	}
	e, ok := endpointOf(img, leader, s.Listener)
	if !ok {
		return nowhere, protocol.Errorf(protocol.CoordinatorNotAvailable, "broker %d is not reachable by listener %s", leader, s.Listener)
	}
	return e, nil
}
