package group

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
)

// OffsetsTopic is the internal topic that groups and offsets are kept in.
const OffsetsTopic = "__consumer_offsets"

// Images is where the metadata comes from.
type Images interface {
	Current() *metadata.Image
}

// ClientInfo is who sent a request, as DescribeGroups shows it.
type ClientInfo struct {
	ID   string // client.id
	Host string // the address, without port
}

// Coordinator serves the groups whose partition this broker leads.
type Coordinator struct {
	cfg    Config
	images Images
	log    *slog.Logger
}

// Run serves until ctx ends.
func (c *Coordinator) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// OnImage drops the offsets of topics that were deleted. It does not block.
func (c *Coordinator) OnImage(_, _ *metadata.Image) {}

// PartitionFor returns the partition of __consumer_offsets that a group lives
// on, or -1 if there is no such topic yet.
func (c *Coordinator) PartitionFor(string) int32 { return -1 }

// JoinGroup answers JoinGroup (key 11), v0 to v9.
func (c *Coordinator) JoinGroup(context.Context, *kmsg.JoinGroupRequest, ClientInfo) *kmsg.JoinGroupResponse {
	return nil
}

// SyncGroup answers SyncGroup (key 14), v0 to v5.
func (c *Coordinator) SyncGroup(context.Context, *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	return nil
}

// Heartbeat answers Heartbeat (key 12), v0 to v4.
func (c *Coordinator) Heartbeat(context.Context, *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	return nil
}

// LeaveGroup answers LeaveGroup (key 13), v0 to v5.
func (c *Coordinator) LeaveGroup(context.Context, *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	return nil
}

// OffsetCommit answers OffsetCommit (key 8), v2 to v9.
func (c *Coordinator) OffsetCommit(context.Context, *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	return nil
}

// OffsetFetch answers OffsetFetch (key 9), v1 to v9.
func (c *Coordinator) OffsetFetch(context.Context, *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	return nil
}

// ListGroups answers ListGroups (key 16), v0 to v5.
func (c *Coordinator) ListGroups(context.Context, *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	return nil
}

// DescribeGroups answers DescribeGroups (key 15), v0 to v5.
func (c *Coordinator) DescribeGroups(context.Context, *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	return nil
}

// DeleteGroups answers DeleteGroups (key 42), v0 to v2.
func (c *Coordinator) DeleteGroups(context.Context, *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	return nil
}

// OffsetDelete answers OffsetDelete (key 47), v0.
func (c *Coordinator) OffsetDelete(context.Context, *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	return nil
}
