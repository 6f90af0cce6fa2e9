package api

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/protocol"
)

// catchUpPoll is how often a learner's progress is looked at.
const catchUpPoll = 50 * time.Millisecond

// addRaftVoter answers AddRaftVoter (key 80), v0: the replica is added as a
// learner, and promoted once it has what was committed when it came (KIP-853).
// Directory ids are not looked at: a replica that has lost its disk comes back
// under another id.
//
// Run again after a timeout it goes on where it was.
func (a *API) addRaftVoter(ctx context.Context, s *Session, req *kmsg.AddRaftVoterRequest) (*kmsg.AddRaftVoterResponse, error) {
	resp, err := byLeader(ctx, a, s, req, func(ctx context.Context) (*kmsg.AddRaftVoterResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, wait(req.TimeoutMillis, a.cfg.RequestTimeout))
		defer cancel()
		return kmsg.NewPtrAddRaftVoterResponse(), a.addVoter(ctx, req)
	})
	if err != nil {
		resp = kmsg.NewPtrAddRaftVoterResponse()
		resp.ErrorCode, resp.ErrorMessage = a.verdict("AddRaftVoter", quorumError(err))
	}
	return resp, nil
}

// wait is a client's timeout, or the broker's if it has none.
func wait(millis int32, otherwise time.Duration) time.Duration {
	if millis <= 0 {
		return otherwise
	}
	return time.Duration(millis) * time.Millisecond
}

func (a *API) addVoter(ctx context.Context, req *kmsg.AddRaftVoterRequest) error {
	if err := a.sameCluster(req.ClusterID); err != nil {
		return err
	}
	if req.VoterID <= 0 || len(req.Listeners) == 0 {
		return protocol.Errorf(protocol.InvalidRequest, "a voter needs an id from 1 on, and the address that its peers dial")
	}
	members, err := a.quorum.Members(ctx)
	if err != nil {
		return err
	}
	l := req.Listeners[0]
	m := consensus.Member{
		ReplicaID: uint64(req.VoterID), BrokerID: req.VoterID, Address: net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))),
	}
	switch role := roleOf(members, m.ReplicaID); role {
	case consensus.Voter:
		return protocol.Errorf(protocol.DuplicateVoter, "replica %d is a voter already", m.ReplicaID)
	case 0:
		add := []consensus.Change{{Op: consensus.AddLearner, Member: m}}
		if members, err = a.quorum.ChangeMembers(ctx, members.ConfigIndex, add); err != nil {
			return err
		}
	}
	if err := a.awaitCaughtUp(ctx, m.ReplicaID); err != nil {
		return err
	}
	_, err = a.quorum.ChangeMembers(ctx, members.ConfigIndex, []consensus.Change{{Op: consensus.Promote, Member: m}})
	return err
}

// awaitCaughtUp waits until the replica has what is committed now.
func (a *API) awaitCaughtUp(ctx context.Context, id uint64) error {
	s, err := a.quorum.Status(ctx)
	if err != nil {
		return err
	}
	goal := s.CommitIndex
	tick := time.NewTicker(catchUpPoll)
	defer tick.Stop()
	for {
		for _, p := range s.Peers {
			if p.ReplicaID == id && p.Match >= goal {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return protocol.Errorf(protocol.RequestTimedOut, "replica %d is a learner now, and has not caught up yet; run this again to promote it", id)
		}
		if s, err = a.quorum.Status(ctx); err != nil {
			return err
		}
	}
}

// roleOf returns what a replica counts as; 0 if it is no member.
func roleOf(members consensus.Membership, id uint64) consensus.MemberRole {
	for _, m := range members.Members {
		if m.ReplicaID == id {
			return m.Role
		}
	}
	return 0
}

func (a *API) sameCluster(id *string) error {
	if own := a.images.Current().ClusterID; id != nil && *id != own {
		return protocol.Errorf(protocol.InconsistentClusterID, "this is cluster %s, not %s", own, *id)
	}
	return nil
}
