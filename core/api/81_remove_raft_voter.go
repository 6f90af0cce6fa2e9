package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/protocol"
)

// removeRaftVoter answers RemoveRaftVoter (key 81), v0 (KIP-853). The id of a
// replica that was removed is never used again.
func (a *API) removeRaftVoter(ctx context.Context, s *Session, req *kmsg.RemoveRaftVoterRequest) (*kmsg.RemoveRaftVoterResponse, error) {
	resp, err := byLeader(ctx, a, s, req, func(ctx context.Context) (*kmsg.RemoveRaftVoterResponse, error) {
		return kmsg.NewPtrRemoveRaftVoterResponse(), a.removeVoter(ctx, req)
	})
	if err != nil {
		resp = kmsg.NewPtrRemoveRaftVoterResponse()
		resp.ErrorCode, resp.ErrorMessage = a.verdict("RemoveRaftVoter", quorumError(err))
	}
	return resp, nil
}

func (a *API) removeVoter(ctx context.Context, req *kmsg.RemoveRaftVoterRequest) error {
	if err := a.sameCluster(req.ClusterID); err != nil {
		return err
	}
	members, err := a.quorum.Members(ctx)
	if err != nil {
		return err
	}
	id := uint64(max(req.VoterID, 0))
	if roleOf(members, id) != consensus.Voter {
		return protocol.Errorf(protocol.VoterNotFound, "replica %d is no voter", req.VoterID)
	}
	change := consensus.Change{Op: consensus.Remove, Member: consensus.Member{ReplicaID: id}}
	_, err = a.quorum.ChangeMembers(ctx, members.ConfigIndex, []consensus.Change{change})
	return err
}
