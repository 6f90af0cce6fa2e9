package core

import (
	"context"
	"fmt"

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

// reserveReplica has the controller, which is here, take the id of a replica that an
// operator adds: nobody had it, and nobody gets it again.
func (b *Broker) reserveReplica(ctx context.Context, m consensus.Member) error {
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.SetVersion(1)
	req.VoterID, req.VoterDirectoryID = m.BrokerID, protocol.DirectoryID(m.ReplicaID)
	answer, err := b.decisions.Do(ctx, req)
	if err != nil {
		return fmt.Errorf("reserve replica id %d: %w", m.ReplicaID, err)
	}
	resp, ok := answer.(*kmsg.AddRaftVoterResponse)
	switch {
	case !ok:
		return fmt.Errorf("the id of a replica was answered with %T", answer)
	case resp.ErrorCode != 0 && resp.ErrorMessage != nil:
		return fmt.Errorf("%w: %s", consensus.ErrInvalidArgument, *resp.ErrorMessage)
	case resp.ErrorCode != 0:
		return fmt.Errorf("reserve replica id %d: %s", m.ReplicaID, protocol.ErrorCode(resp.ErrorCode))
	}
	return nil
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
