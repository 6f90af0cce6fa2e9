package api

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/controller"
	"github.com/quorate/quorate/protocol"
)

// catchUpPoll is how often a learner's progress is looked at.
const catchUpPoll = 50 * time.Millisecond

// addRaftVoter answers AddRaftVoter (key 80), v0 and v1 (KIP-853): the replicas that
// the node had before are removed, the new one is added as a learner, and promoted
// once it has what was committed when it came. A node and its directory name the
// replica (see protocol.DirectoryID); without a directory it has the node's id. A new
// replica's id must be one that nobody had.
//
//	v1  with ack_when_committed=false the answer comes when it is a learner, and it
//	    is not promoted: a replica that has not started yet asks so
//
// Run again after a timeout it goes on where it was.
func (a *API) addRaftVoter(ctx context.Context, s *Session, req *kmsg.AddRaftVoterRequest) (*kmsg.AddRaftVoterResponse, error) {
	resp, err := byLeader(ctx, a, s, req, func(ctx context.Context) (*kmsg.AddRaftVoterResponse, error) {
		ctx, cancel := context.WithTimeout(ctx, wait(req.TimeoutMillis, a.cfg.RequestTimeout))
		defer cancel()
		return a.addVoter(ctx, req)
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

func (a *API) addVoter(ctx context.Context, req *kmsg.AddRaftVoterRequest) (*kmsg.AddRaftVoterResponse, error) {
	if err := a.sameCluster(req.ClusterID); err != nil {
		return nil, err
	}
	if req.VoterID <= 0 || len(req.Listeners) == 0 {
		return nil, protocol.Errorf(protocol.InvalidRequest, "a voter needs an id from 1 on, and the address that its peers dial")
	}
	members, err := a.quorum.Members(ctx)
	if err != nil {
		return nil, err
	}
	l := req.Listeners[0]
	m := consensus.Member{
		ReplicaID: controller.ReplicaOf(req.VoterID, req.VoterDirectoryID), BrokerID: req.VoterID,
		Address: net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))),
	}
	done := kmsg.NewPtrAddRaftVoterResponse()
	known, isMember := memberOf(members, m.ReplicaID)
	switch {
	case isMember && (known.Role == consensus.Voter || known.BrokerID != m.BrokerID):
		return nil, protocol.Errorf(protocol.DuplicateVoter, "replica %d is a %s of node %d already", m.ReplicaID, known.Role, known.BrokerID)
	case !isMember:
		if refused, err := a.mayJoin(ctx, req, m); refused != nil || err != nil {
			return refused, err
		}
		if members, err = a.removeFormer(ctx, members, m.BrokerID); err != nil {
			return nil, err
		}
		add := []consensus.Change{{Op: consensus.AddLearner, Member: m}}
		if members, err = a.quorum.ChangeMembers(ctx, members.ConfigIndex, add); err != nil {
			return nil, err
		}
	}
	if req.Version >= 1 && !req.AckWhenCommitted {
		return done, nil
	}
	if err := a.awaitCaughtUp(ctx, m.ReplicaID); err != nil {
		return nil, err
	}
	_, err = a.quorum.ChangeMembers(ctx, members.ConfigIndex, []consensus.Change{{Op: consensus.Promote, Member: m}})
	return done, err
}

// mayJoin refuses a second replica of a node that is alive, and reserves the new
// replica's id. What is refused is answered as it is.
func (a *API) mayJoin(ctx context.Context, req *kmsg.AddRaftVoterRequest, m consensus.Member) (refused *kmsg.AddRaftVoterResponse, err error) {
	if b, ok := a.images.Current().Broker(m.BrokerID); ok && !b.Fenced && b.Replica != m.ReplicaID {
		return nil, protocol.Errorf(protocol.DuplicateBrokerRegistration, "node %d is alive with replica %d: stop it before it is replaced, or give the new node an id of its own", b.ID, b.Replica)
	}
	answer, err := a.controller.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := answer.(*kmsg.AddRaftVoterResponse)
	if !ok {
		return nil, fmt.Errorf("the id of a replica was answered with %T", answer)
	}
	if resp.ErrorCode != 0 {
		return resp, nil
	}
	return nil, nil
}

// removeFormer removes the replicas that a node had before, on disks that are gone,
// as Kafka's controllers do that join (KIP-1186). They count for the quorum and do not
// answer, so that the cluster is no worse off without them; and a backend may refuse
// two members at one address.
func (a *API) removeFormer(ctx context.Context, members consensus.Membership, node int32) (consensus.Membership, error) {
	for _, m := range members.Members {
		if m.BrokerID != node {
			continue
		}
		a.log.Info("the former replica of a node that joins is removed", "node", node, "replica", m.ReplicaID, "role", m.Role.String())
		var err error
		members, err = a.quorum.ChangeMembers(ctx, members.ConfigIndex, []consensus.Change{{Op: consensus.Remove, Member: m}})
		if err != nil {
			return members, err
		}
	}
	return members, nil
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

// memberOf returns the member that is the replica.
func memberOf(members consensus.Membership, id uint64) (consensus.Member, bool) {
	i := slices.IndexFunc(members.Members, func(m consensus.Member) bool { return m.ReplicaID == id })
	if i < 0 {
		return consensus.Member{}, false
	}
	return members.Members[i], true
}

func (a *API) sameCluster(id *string) error {
	if own := a.images.Current().ClusterID; id != nil && *id != own {
		return protocol.Errorf(protocol.InconsistentClusterID, "this is cluster %s, not %s", own, *id)
	}
	return nil
}
