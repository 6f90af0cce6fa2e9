package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/protocol"
)

// removeRaftVoter answers RemoveRaftVoter (key 81), v0 (KIP-853). The id of a
// replica that was removed is never used again. A learner is removed if it is named
// by its directory.
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
	m, ok := voterToRemove(members, req)
	if !ok {
		return protocol.Errorf(protocol.VoterNotFound, "node %d has no such voter", req.VoterID)
	}
	change := consensus.Change{Op: consensus.Remove, Member: m}
	_, err = a.quorum.ChangeMembers(ctx, members.ConfigIndex, []consensus.Change{change})
	return err
}

// voterToRemove finds what a request names: a replica by its directory, learner or
// not; or else the voter with the node's id, or the node's only one.
func voterToRemove(members consensus.Membership, req *kmsg.RemoveRaftVoterRequest) (consensus.Member, bool) {
	if replica, ok := protocol.ReplicaOfDirectory(req.VoterDirectoryID); ok {
		m, found := memberOf(members, replica)
		return m, found && m.BrokerID == req.VoterID
	}
	if m, ok := memberOf(members, uint64(max(req.VoterID, 0))); ok && m.BrokerID == req.VoterID {
		return m, m.Role == consensus.Voter
	}
	var found []consensus.Member
	for _, m := range members.Members {
		if m.BrokerID == req.VoterID && m.Role == consensus.Voter {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		return consensus.Member{}, false
	}
	return found[0], true
}
