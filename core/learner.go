package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
)

const (
	// maxVoters is how many brokers' replicas vote; the rest are learners. Each voter
	// more has to be asked for every decision, and beyond five there is nothing to
	// be gained from it.
	maxVoters = 5
	// learnerPause is the time between two looks.
	learnerPause = 500 * time.Millisecond
	// promotionWait bounds the wait at the leader for this replica to catch up.
	promotionWait = 30 * time.Second
)

// learner brings this node's replica, which the cluster has just added, to its place
// in the metadata log: it is promoted once it has caught up, unless there are voters
// enough; and what replicas the node had before, on disks that are gone, are removed.
//
// It asks for that itself, as a controller of Kafka does that joins (KIP-853,
// KIP-1186), and only until it has been granted once: who is demoted by an operator
// afterwards stays so.
type learner struct {
	self    consensus.Member
	cluster string
	leads   func(context.Context, kmsg.Request) (kmsg.Response, error) // asks the leader
	fenced  func() bool                                                // whether this broker is
	settled func() error                                               // notes that it is done
	log     *slog.Logger
}

// run returns when this replica has its place or ctx ends, nil both times; any other
// error says that the outcome could not be noted.
func (l *learner) run(ctx context.Context) error {
	tick := time.NewTicker(learnerPause)
	defer tick.Stop()
	for failing := false; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if l.fenced() {
			continue // nobody counts on a broker that is not up
		}
		done, err := l.step(ctx)
		switch {
		case done:
			if err := l.settled(); err != nil {
				return fmt.Errorf("note that this node's replica has its place: %w", err)
			}
			return nil
		case err != nil && !failing:
			l.log.Warn("this node's replica is not in its place yet, goes on trying", "replica", l.self.ReplicaID, "error", err)
		}
		failing = err != nil
	}
}

// step is one look at the members, and the next change towards the end; done if
// there is none.
func (l *learner) step(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, promotionWait+joinRequest)
	defer cancel()
	members, err := askQuorum(ctx, l.leads)
	if err != nil {
		return false, err
	}
	role, voters, former := l.place(members)
	switch {
	case role == 0:
		return false, errors.New("it is no member of the metadata log")
	case role != consensus.Voter && voters < maxVoters:
		return false, l.promote(ctx)
	case len(former) > 0:
		return false, l.remove(ctx, former[0])
	}
	l.log.Info("this node's replica has its place", "replica", l.self.ReplicaID, "role", role.String())
	return true, nil
}

// place returns this replica's role, how many other brokers' replicas vote, and the
// other replicas of this broker.
func (l *learner) place(members []consensus.Member) (role consensus.MemberRole, voters int, former []consensus.Member) {
	for _, m := range members {
		switch {
		case m.ReplicaID == l.self.ReplicaID:
			role = m.Role
		case m.BrokerID == l.self.BrokerID:
			former = append(former, m)
		case m.Role == consensus.Voter:
			voters++
		}
	}
	return role, voters, former
}

func (l *learner) promote(ctx context.Context) error {
	req, err := addVoterRequest(l.cluster, l.self)
	if err != nil {
		return err
	}
	req.TimeoutMillis = int32(promotionWait.Milliseconds())
	answer, err := l.leads(ctx, req)
	if err != nil {
		return err
	}
	resp, ok := answer.(*kmsg.AddRaftVoterResponse)
	if !ok {
		return fmt.Errorf("AddRaftVoter was answered with %T", answer)
	}
	return answerError(resp.ErrorCode, resp.ErrorMessage)
}

func (l *learner) remove(ctx context.Context, m consensus.Member) error {
	l.log.Info("this node's former replica is removed", "replica", m.ReplicaID)
	answer, err := l.leads(ctx, removeVoterRequest(l.cluster, m))
	if err != nil {
		return err
	}
	resp, ok := answer.(*kmsg.RemoveRaftVoterResponse)
	if !ok {
		return fmt.Errorf("RemoveRaftVoter was answered with %T", answer)
	}
	return answerError(resp.ErrorCode, resp.ErrorMessage)
}
