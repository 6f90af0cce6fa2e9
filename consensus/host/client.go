package host

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// client is the consensus.Client that outlives sessions: it holds what is known
// of every group, and the current session if there is one.
type client struct {
	log         *slog.Logger
	description atomic.Pointer[consensus.Description]
	groups      map[consensus.GroupID]*groupState // fixed
	failures    *failures                         // groups that the current session gave up on
	commits     *latency                          // of this replica's proposals
	peerTLS     atomic.Pointer[consensus.PeerTLS] // newer than what the process was started with

	mu      sync.Mutex
	session *session
	failure error         // why there will be no further session
	changed chan struct{} // closed and replaced when session or failure changes
}

type groupState struct {
	leadership *latest[consensus.Leadership]
	wanted     *latest[uint64]
}

func newClient(groups []consensus.GroupSpec, log *slog.Logger) *client {
	c := &client{
		log: log, groups: make(map[consensus.GroupID]*groupState), failures: newFailures(),
		commits: newLatency(), changed: make(chan struct{}),
	}
	for _, g := range groups {
		c.groups[g.ID] = &groupState{
			leadership: newLatest(consensus.Leadership{}),
			wanted:     newLatest(uint64(0)),
		}
	}
	c.description.Store(&consensus.Description{})
	return c
}

// attach makes s the current session.
func (c *client) attach(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = s
	c.broadcast()
}

// detach ends the use of s, whose goroutines have ended: no group has a leader
// until another session says so.
func (c *client) detach(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.session = nil
		c.broadcast()
	}
	for _, g := range c.groups {
		g.leadership.update(leaderless)
	}
}

// leaderless is what is known of a group when its replica is not heard of. The
// term is kept, since it never goes back.
func leaderless(l consensus.Leadership) consensus.Leadership {
	return consensus.Leadership{Term: l.Term, Role: consensus.Follower}
}

// fail says that there will be no further session. The first reason counts.
func (c *client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure = err
		c.broadcast()
	}
}

func (c *client) broadcast() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// current returns the session, or ErrUnavailable.
func (c *client) current() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.session != nil:
		return c.session, nil
	case c.failure != nil:
		return nil, fmt.Errorf("%w: %w", consensus.ErrUnavailable, c.failure)
	default:
		return nil, consensus.ErrUnavailable
	}
}

// RPC is the contract as it goes over the wire, on the connection that there is
// now: for who wants to say what no host says. ErrUnavailable without one.
func (c *client) RPC() (consensuspb.ConsensusClient, error) {
	s, err := c.current()
	if err != nil {
		return nil, err
	}
	return s.rpc, nil
}

// await returns the session once there is one.
func (c *client) await(ctx context.Context) (*session, error) {
	for {
		c.mu.Lock()
		s, failure, changed := c.session, c.failure, c.changed
		c.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case s != nil:
			return s, nil
		case failure != nil:
			return nil, failure
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// onEvent takes in what the plugin says of a group.
func (c *client) onEvent(e *consensuspb.Event) {
	g := c.groups[consensus.GroupID(e.GetGroupId())]
	if g == nil {
		return
	}
	switch ev := e.GetEvent().(type) {
	case *consensuspb.Event_Leadership:
		fresh := wire.LeadershipFromProto(ev.Leadership)
		g.leadership.update(func(old consensus.Leadership) consensus.Leadership {
			if fresh.Term < old.Term {
				c.log.Error("the backend's term went back", "group", e.GetGroupId(), "term", fresh.Term, "known_term", old.Term)
				return old
			}
			return fresh
		})
	case *consensuspb.Event_SnapshotRequested:
		g.wanted.update(func(uint64) uint64 { return ev.SnapshotRequested.GetMinIndex() })
	case *consensuspb.Event_GroupFailed:
		g.leadership.update(leaderless)
		c.failures.add(consensus.GroupID(e.GetGroupId()), wire.ErrorFromProto(ev.GroupFailed))
	}
}

// Describe implements consensus.Client.
func (c *client) Describe() consensus.Description { return *c.description.Load() }

// LeaderFor implements consensus.Client.
func (c *client) LeaderFor(id consensus.GroupID) (consensus.Leadership, <-chan struct{}) {
	g := c.groups[id]
	if g == nil {
		return consensus.Leadership{}, nil // a nil channel: nothing will ever be known
	}
	return g.leadership.get()
}

// SnapshotWanted implements consensus.Client.
func (c *client) SnapshotWanted(id consensus.GroupID) (uint64, <-chan struct{}) {
	g := c.groups[id]
	if g == nil {
		return 0, nil
	}
	return g.wanted.get()
}

// Propose implements consensus.Client.
func (c *client) Propose(ctx context.Context, p consensus.Proposal) consensus.Result {
	s, err := c.current()
	if err != nil {
		return consensus.Result{Outcome: consensus.Rejected, Err: err}
	}
	return s.proposer.propose(ctx, p)
}

// ReadIndex implements consensus.Client.
func (c *client) ReadIndex(ctx context.Context, g consensus.GroupID) (index, term uint64, err error) {
	s, err := c.current()
	if err != nil {
		return 0, 0, err
	}
	req := &consensuspb.ReadIndexRequest{GroupId: uint64(g), TimeoutMs: timeoutOf(ctx)}
	resp, err := s.rpc.ReadIndex(ctx, req)
	if err != nil {
		return 0, 0, callError(ctx, "read index", err)
	}
	return resp.GetIndex(), resp.GetTerm(), nil
}

// SaveSnapshot implements consensus.Client.
func (c *client) SaveSnapshot(ctx context.Context, g consensus.GroupID, m consensus.SnapshotMeta, r io.Reader) error {
	s, err := c.current()
	if err != nil {
		return err
	}
	return s.saveSnapshot(ctx, g, m, r)
}

// Snapshot implements consensus.Client.
func (c *client) Snapshot(ctx context.Context, g consensus.GroupID) (consensus.SnapshotMeta, io.ReadCloser, error) {
	s, err := c.current()
	if err != nil {
		return consensus.SnapshotMeta{}, nil, err
	}
	return s.snapshot(ctx, g)
}

// Members implements consensus.Client.
func (c *client) Members(ctx context.Context, g consensus.GroupID) (consensus.Membership, error) {
	s, err := c.current()
	if err != nil {
		return consensus.Membership{}, err
	}
	resp, err := s.rpc.GetMembership(ctx, &consensuspb.GetMembershipRequest{GroupId: uint64(g)})
	if err != nil {
		return consensus.Membership{}, callError(ctx, "get members", err)
	}
	return wire.MembershipFromProto(resp.GetMembership()), nil
}

// Status implements consensus.Client.
func (c *client) Status(ctx context.Context, g consensus.GroupID) (consensus.Status, error) {
	s, err := c.current()
	if err != nil {
		return consensus.Status{}, err
	}
	resp, err := s.rpc.GetStatus(ctx, &consensuspb.GetStatusRequest{GroupIds: []uint64{uint64(g)}, IncludePeers: true})
	if err != nil {
		return consensus.Status{}, callError(ctx, "get status", err)
	}
	if len(resp.GetGroups()) != 1 {
		return consensus.Status{}, fmt.Errorf("get status of group %d: %w", g, consensus.ErrGroupNotFound)
	}
	return wire.StatusFromProto(resp.GetGroups()[0]), nil
}

// callError makes a caller's error of a failed call: the context's if it ended,
// otherwise the contract's.
func callError(ctx context.Context, doing string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	}
	return fmt.Errorf("%s: %w", doing, wire.FromStatus(err))
}
