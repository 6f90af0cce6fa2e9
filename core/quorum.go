package core

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/protocol"
)

// quorum is the replicas of the metadata log as the APIs see them.
type quorum struct {
	client consensus.Client
	leader func() (int32, bool)
	pool   *interbroker.Pool
}

// Leads implements api.Quorum.
func (q quorum) Leads() bool {
	l, _ := q.client.LeaderFor(consensus.Metadata)
	return l.Role == consensus.LeaderReady
}

// AskLeader implements api.Quorum.
func (q quorum) AskLeader(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	id, ok := q.leader()
	if !ok {
		return nil, protocol.Errorf(protocol.NotLeaderOrFollower, "the metadata log has no leader that this broker knows of")
	}
	return q.pool.Request(ctx, id, interbroker.LaneForward, req)
}

// Status implements api.Quorum.
func (q quorum) Status(ctx context.Context) (consensus.Status, error) {
	return q.client.Status(ctx, consensus.Metadata)
}

// Members implements api.Quorum.
func (q quorum) Members(ctx context.Context) (consensus.Membership, error) {
	return q.client.Members(ctx, consensus.Metadata)
}

// ChangeMembers implements api.Quorum.
func (q quorum) ChangeMembers(ctx context.Context, expectConfigIndex uint64, changes []consensus.Change) (consensus.Membership, error) {
	return q.client.ChangeMembers(ctx, consensus.Metadata, expectConfigIndex, changes)
}
