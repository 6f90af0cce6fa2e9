package hashicorpraft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// changeTimeout is how long a change may wait for its turn if the caller's
// context has no end.
const changeTimeout = 10 * time.Second

// serverID is what the library calls a replica: its id, and behind an @ its
// broker's if that is another one. The library keeps nothing else of a member,
// and a leader must be found by either.
func serverID(replica uint64, broker int32) raft.ServerID {
	id := strconv.FormatUint(replica, 10)
	if int64(broker) != int64(replica) {
		id += "@" + strconv.FormatInt(int64(broker), 10)
	}
	return raft.ServerID(id)
}

// parseServerID returns 0, which is nobody, for what serverID did not make.
func parseServerID(id raft.ServerID) (replica uint64, broker int32) {
	r, b, other := strings.Cut(string(id), "@")
	replica, err := strconv.ParseUint(r, 10, 64)
	if err != nil {
		return consensus.NoLeader, 0
	}
	if !other {
		return replica, int32(replica)
	}
	n, err := strconv.ParseInt(b, 10, 32)
	if err != nil {
		return consensus.NoLeader, 0
	}
	return replica, int32(n)
}

func replicaID(id raft.ServerID) uint64 {
	replica, _ := parseServerID(id)
	return replica
}

// serverOf returns the server that is the replica.
func serverOf(c raft.Configuration, replica uint64) (raft.Server, bool) {
	i := slices.IndexFunc(c.Servers, func(s raft.Server) bool { return replicaID(s.ID) == replica })
	if i < 0 {
		return raft.Server{}, false
	}
	return c.Servers[i], true
}

// Members returns the newest configuration in the log here, which is the one in
// force; it is Pending until it is committed.
func (g *group) Members() consensus.Membership {
	current := g.store.configuration()
	m := consensus.Membership{ConfigIndex: current.index, Pending: g.pending(current)}
	for _, s := range current.Servers {
		member := consensus.Member{Address: string(s.Address), Role: consensus.Voter}
		member.ReplicaID, member.BrokerID = parseServerID(s.ID)
		if s.Suffrage != raft.Voter {
			member.Role = consensus.LearnerMember
		}
		m.Members = append(m.Members, member)
	}
	return m
}

// pending tells whether c is not known to be committed. The library forgets its
// commit index with every restart; a snapshot and the first members it can not be behind.
func (g *group) pending(c configuration) bool {
	return c.index > max(g.raft.CommitIndex(), g.store.snapshotIndex(), firstIndex)
}

var _ consensus.MembershipChanger = (*group)(nil)

// ChangeMembers makes one change; the library can not make several at once. It
// returns when the change is committed. After ErrTimeout, ErrLeadershipLost and
// ErrUnavailable it may be made all the same: Members tells.
func (g *group) ChangeMembers(ctx context.Context, expect uint64, changes []consensus.Change) (consensus.Membership, error) {
	var none consensus.Membership
	if len(changes) > 1 {
		return none, fmt.Errorf("%w: %d changes at once need a joint configuration", consensus.ErrUnsupported, len(changes))
	}
	if l, _ := g.Leadership(); l.Role != consensus.Leader && l.Role != consensus.LeaderReady {
		return none, consensus.ErrNotLeader
	}
	select {
	case g.changing <- struct{}{}:
	default:
		return none, consensus.ErrConfigPending
	}
	current := g.store.configuration()
	request, err := g.plan(current, expect, changes)
	if err != nil {
		<-g.changing
		return none, err
	}
	made := make(chan error, 1)
	go func() { // the library may never answer; see close
		err := request(enqueueTimeout(ctx)).Error()
		<-g.changing // first: who is told may begin the next
		made <- err
	}()
	select {
	case err = <-made:
	case <-ctx.Done():
		err = fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())
	case <-g.stopWatch:
		err = consensus.ErrShuttingDown
	}
	if err != nil {
		return none, g.changeError(err, expect)
	}
	return g.Members(), nil
}

func enqueueTimeout(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Millisecond)
	}
	return changeTimeout
}

// plan checks the change against the current configuration, which the library
// does again with prevIndex, and returns the library's call for it.
func (g *group) plan(current configuration, expect uint64, changes []consensus.Change) (func(time.Duration) raft.IndexFuture, error) {
	if len(changes) == 0 {
		return nil, fmt.Errorf("%w: no change", consensus.ErrInvalidArgument)
	}
	if expect != current.index {
		return nil, fmt.Errorf("%w: it is at %d, not %d", consensus.ErrStaleConfig, current.index, expect)
	}
	if g.pending(current) {
		return nil, consensus.ErrConfigPending
	}
	op, member := changes[0].Op, changes[0].Member
	server, known := serverOf(current.Configuration, member.ReplicaID)
	if err := mayChange(op, member, server, known, len(current.Servers)); err != nil {
		return nil, err
	}
	address := raft.ServerAddress(member.Address)
	return func(timeout time.Duration) raft.IndexFuture {
		switch {
		case op == consensus.AddLearner:
			return g.raft.AddNonvoter(serverID(member.ReplicaID, member.BrokerID), address, expect, timeout)
		case op == consensus.Promote:
			return g.raft.AddVoter(server.ID, server.Address, expect, timeout)
		case op == consensus.Demote:
			return g.raft.DemoteVoter(server.ID, expect, timeout)
		case op == consensus.Remove:
			return g.raft.RemoveServer(server.ID, expect, timeout)
		case server.Suffrage == raft.Voter: // a new address
			return g.raft.AddVoter(server.ID, address, expect, timeout)
		default:
			return g.raft.AddNonvoter(server.ID, address, expect, timeout)
		}
	}, nil
}

// mayChange refuses what makes no sense; the library would do something else,
// or nothing, instead.
func mayChange(op consensus.ChangeOp, m consensus.Member, server raft.Server, known bool, members int) error {
	problem := ""
	switch op {
	case consensus.AddLearner:
		switch {
		case m.ReplicaID == consensus.NoLeader || m.Address == "":
			problem = "has no id or no address"
		case known:
			problem = "is a member already"
		case members >= maxMembers:
			problem = fmt.Sprintf("would be one more than %d members", maxMembers)
		}
	case consensus.Promote, consensus.Demote, consensus.Remove, consensus.SetAddress:
		switch {
		case !known:
			problem = "is no member"
		case op == consensus.Promote && server.Suffrage == raft.Voter:
			problem = "is a voter already"
		case op == consensus.Demote && server.Suffrage != raft.Voter:
			problem = "is a learner already"
		case op == consensus.SetAddress && m.Address == "":
			problem = "has no address"
		}
	default:
		return fmt.Errorf("%w: there is no change %d", consensus.ErrInvalidArgument, op)
	}
	if problem == "" {
		return nil
	}
	return fmt.Errorf("%w: replica %d %s", consensus.ErrInvalidArgument, m.ReplicaID, problem)
}

// changeError maps the library's errors. It has none of its own for a
// configuration that has changed meanwhile, or that would be wrong.
func (g *group) changeError(err error, expect uint64) error {
	switch {
	case errors.Is(err, consensus.ErrTimeout), errors.Is(err, consensus.ErrShuttingDown), errors.Is(err, consensus.ErrStorageFailed):
		return err
	case errors.Is(err, raft.ErrNotLeader):
		return consensus.ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return consensus.ErrTransferPending
	case errors.Is(err, raft.ErrEnqueueTimeout): // nothing was done: the leader is not ready, or a change is pending
		return fmt.Errorf("%w: %w", consensus.ErrConfigPending, err)
	case errors.Is(err, raft.ErrLeadershipLost):
		return fmt.Errorf("%w: %w", consensus.ErrLeadershipLost, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return consensus.ErrShuttingDown
	}
	if now := g.store.configuration().index; now != expect {
		return fmt.Errorf("%w: it is at %d, not %d", consensus.ErrStaleConfig, now, expect)
	}
	return fmt.Errorf("%w: %w", consensus.ErrInvalidArgument, err) // such as the last voter's demotion
}
