package hashicorpraft

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

const patience = 60 * time.Second // far longer than anything healthy takes

// cluster is some replicas over real sockets, and what was acknowledged to them.
type cluster struct {
	t      *testing.T
	tuning consensus.GroupTuning
	store  string // "": the default
	timing consensus.Timing

	mu    sync.Mutex
	nodes map[uint64]*node
	acked []string
}

// node is a replica with a host that counts how often each payload was applied.
type node struct {
	c       *cluster
	member  consensus.Member
	backend *backend
	group   *group
	stop    context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	state state
}

type state struct {
	Index, Term uint64
	Gate        consensus.Gate
	Counts      map[string]int
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, nodes: map[uint64]*node{}}
	t.Cleanup(func() {
		for _, n := range c.all() {
			n.end()
		}
	})
	return c
}

// start binds a replica; open then opens its group.
func (c *cluster) start(replica uint64, broker int32) *node {
	c.t.Helper()
	n := &node{c: c, backend: newBackend(), state: state{Counts: map[string]int{}}}
	n.backend.fatal = func(err error) { c.t.Errorf("replica %d: fatal: %v", replica, err) }
	if err := n.backend.Start(c.t.Context(), consensus.StartConfig{
		ClusterID: "c", ReplicaID: replica, BrokerID: broker, DataDir: c.t.TempDir(),
		Peer:   consensus.PeerEndpoint{Listen: "127.0.0.1:0"},
		Timing: cmp.Or(c.timing, consensus.Timing{Heartbeat: 20 * time.Millisecond, ElectionTimeout: 300 * time.Millisecond}),
		// Small segments are made faster.
		Options: fmt.Appendf(nil, `{"log_segment_bytes": 1048576, "log_store": %q}`, cmp.Or(c.store, storeSegments)),
	}); err != nil {
		c.t.Fatal(err)
	}
	n.member = consensus.Member{ReplicaID: replica, BrokerID: broker, Address: n.backend.BoundPeerAddress(), Role: consensus.Voter}
	return n
}

func (n *node) open(mode consensus.OpenMode, members ...consensus.Member) *node {
	n.c.t.Helper()
	g, err := n.backend.OpenGroup(n.c.t.Context(), consensus.GroupSpec{ID: consensus.Metadata, Mode: mode, Members: members, Tuning: n.c.tuning})
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.group = g.(*group)
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	n.running.Go(func() { n.follow(ctx) })
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.nodes[n.member.ReplicaID] = n
	return n
}

// bootstrap starts a cluster of replicas 1 to size.
func bootstrap(t *testing.T, size uint64) *cluster {
	c := newCluster(t)
	c.bootstrap(size)
	return c
}

func (c *cluster) bootstrap(size uint64) {
	c.t.Helper()
	var nodes []*node
	var members []consensus.Member
	for id := uint64(1); id <= size; id++ {
		n := c.start(id, int32(id))
		nodes, members = append(nodes, n), append(members, n.member)
	}
	for _, n := range nodes {
		n.open(consensus.OpenBootstrap, members...)
	}
}

func (n *node) end() {
	n.stop()
	n.running.Wait()
	if err := n.backend.Stop(context.Background()); err != nil {
		n.c.t.Errorf("replica %d: stop: %v", n.member.ReplicaID, err)
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	delete(n.c.nodes, n.member.ReplicaID)
}

func (c *cluster) all() []*node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*node
	for _, n := range c.nodes {
		all = append(all, n)
	}
	return all
}

func (c *cluster) eventually(what string, done func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			for _, n := range c.all() {
				c.t.Logf("replica %d: %+v, members %+v", n.member.ReplicaID, n.group.Status(), n.group.Members())
			}
			c.t.Fatalf("in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// leader waits for one that is ready.
func (c *cluster) leader() (leader *node, at consensus.Leadership) {
	c.t.Helper()
	c.eventually("a leader", func() bool {
		leader, at = c.lookForLeader()
		return leader != nil
	})
	return leader, at
}

func (c *cluster) lookForLeader() (leader *node, at consensus.Leadership) {
	for _, n := range c.all() {
		if l, _ := n.group.Leadership(); l.Role == consensus.LeaderReady && l.Term > at.Term {
			leader, at = n, l
		}
	}
	return leader, at
}

// follow applies what is delivered, through the gate, as a broker does.
func (n *node) follow(ctx context.Context) {
	for ctx.Err() == nil {
		n.mu.Lock()
		from := n.state.Index + 1
		n.mu.Unlock()
		entries, _, next, err := n.group.Read(from, 1<<20)
		switch {
		case errors.Is(err, consensus.ErrCompacted):
			err = n.install(ctx)
		case err == nil && next != nil:
			select {
			case <-next:
			case <-ctx.Done():
			}
		}
		if err != nil {
			n.c.t.Errorf("replica %d: read from %d: %v", n.member.ReplicaID, from, err)
			return
		}
		n.apply(entries)
	}
}

func (n *node) apply(entries []consensus.Entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range entries {
		payload, ok, err := n.state.Gate.Admit(e)
		if err != nil || e.Index != n.state.Index+1 {
			n.c.t.Errorf("replica %d: entry %d after %d: %v", n.member.ReplicaID, e.Index, n.state.Index, err)
		}
		n.state.Index, n.state.Term = e.Index, e.Term
		if ok {
			n.state.Counts[string(payload)]++
		}
	}
}

func (n *node) install(ctx context.Context) error {
	_, r, err := n.group.Snapshot(ctx)
	if err != nil {
		return err
	}
	var s state
	if err := errors.Join(json.NewDecoder(r).Decode(&s), r.Close()); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state = s
	return nil
}

func (n *node) save() {
	n.c.t.Helper()
	n.mu.Lock()
	m := consensus.SnapshotMeta{Index: n.state.Index, Term: n.state.Term, Format: "test"}
	data, err := json.Marshal(n.state)
	n.mu.Unlock()
	if err == nil {
		err = n.group.SaveSnapshot(n.c.t.Context(), m, bytes.NewReader(data))
	}
	if err != nil {
		n.c.t.Fatalf("save a snapshot at %d: %v", m.Index, err)
	}
}

func (n *node) applied(payload string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.Counts[payload]
}

// load proposes, up to window at a time, through whoever leads, until it is
// stopped. The returned function stops it, and returns how many it was.
func (c *cluster) load(window int) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		var at consensus.Leadership
		sequence, serial := uint64(0), 0
		for ctx.Err() == nil {
			leader, now := c.lookForLeader()
			if leader == nil {
				time.Sleep(time.Millisecond)
				continue
			}
			if now.Term != at.Term {
				at, sequence = now, 0
			}
			sequence += c.propose(leader, at.Term, sequence, &serial, window)
		}
	})
	return sync.OnceValue(func() int {
		cancel()
		running.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.acked)
	})
}

// propose sends a window of proposals behind sequence, and returns how many were
// committed before the first that was not. Those behind a rejected one do not
// count: there is a gap before them.
func (c *cluster) propose(leader *node, term, sequence uint64, serial *int, window int) uint64 {
	results := make([]chan consensus.Result, window)
	payloads := make([]string, window)
	for i := range window {
		*serial++
		payloads[i] = fmt.Sprintf("payload-%d", *serial)
		env := consensus.Envelope{ExpectedTerm: term, Sequence: sequence + uint64(i) + 1, Payload: []byte(payloads[i])}
		results[i] = make(chan consensus.Result, 1)
		leader.group.Propose(term, env.Append(nil), func(r consensus.Result) { results[i] <- r })
	}
	good, whole := uint64(0), true
	for i := range window {
		r := <-results[i]
		if whole = whole && r.Outcome == consensus.Committed; whole {
			good++
			c.mu.Lock()
			c.acked = append(c.acked, payloads[i])
			c.mu.Unlock()
		}
	}
	return good
}

// more waits until n more proposals were acknowledged.
func (c *cluster) more(n int) {
	c.t.Helper()
	count := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.acked)
	}
	want := count() + n
	c.eventually("proposals are committed", func() bool { return count() >= want })
}

// check waits until every node has applied what was acknowledged, once.
func (c *cluster) check() {
	c.t.Helper()
	c.mu.Lock()
	acked := c.acked
	c.mu.Unlock()
	for _, n := range c.all() {
		if l, _ := n.group.Leadership(); l.Role == consensus.Removed {
			continue
		}
		for _, p := range acked {
			c.eventually(fmt.Sprintf("%s on replica %d", p, n.member.ReplicaID), func() bool { return n.applied(p) > 0 })
		}
		n.mu.Lock()
		for p, times := range n.state.Counts {
			if times != 1 {
				c.t.Errorf("replica %d applied %s %d times", n.member.ReplicaID, p, times)
			}
		}
		n.mu.Unlock()
	}
}

// change makes a change through whoever leads. It goes on after what may happen.
func (c *cluster) change(op consensus.ChangeOp, m consensus.Member, done func(consensus.Membership) bool) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("change %d of replica %d", op, m.ReplicaID), func() bool {
		leader, _ := c.leader()
		before := leader.group.Members()
		if !before.Pending && done(before) {
			return true
		}
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		after, err := leader.group.ChangeMembers(ctx, before.ConfigIndex, []consensus.Change{{Op: op, Member: m}})
		switch {
		case err == nil:
			if after.Pending || !done(after) {
				c.t.Fatalf("change %d of replica %d gave %+v", op, m.ReplicaID, after)
			}
			return true
		case errors.Is(err, consensus.ErrUnsupported):
			c.t.Fatal(err)
		}
		c.t.Logf("try again: %v", err)
		return false
	})
}

// hasMember wants m to be a member as it is, or with role 0 none.
func hasMember(m consensus.Member) func(consensus.Membership) bool {
	return func(all consensus.Membership) bool {
		for _, one := range all.Members {
			if one.ReplicaID == m.ReplicaID {
				return one == m
			}
		}
		return m.Role == 0
	}
}

// add brings n in: as a learner, and once it has caught up as a voter.
func (c *cluster) add(n *node) {
	c.t.Helper()
	learner := n.member
	learner.Role = consensus.LearnerMember
	c.change(consensus.AddLearner, n.member, hasMember(learner))
	c.eventually("the learner learns", func() bool {
		l, _ := n.group.Leadership()
		return l.Role == consensus.Learner && l.Leader != consensus.NoLeader
	})
	c.eventually("the learner has caught up", func() bool {
		leader, _ := c.leader()
		for _, p := range leader.group.Status().Peers {
			if p.ReplicaID == n.member.ReplicaID {
				return p.Match > 0 && p.Match+200 > leader.group.Status().CommitIndex
			}
		}
		return false
	})
	c.change(consensus.Promote, consensus.Member{ReplicaID: n.member.ReplicaID}, hasMember(n.member))
}

func (c *cluster) remove(n *node) {
	c.t.Helper()
	c.change(consensus.Remove, consensus.Member{ReplicaID: n.member.ReplicaID}, hasMember(consensus.Member{ReplicaID: n.member.ReplicaID}))
}

func (n *node) is(role consensus.Role) func() bool {
	return func() bool {
		l, _ := n.group.Leadership()
		return l.Role == role
	}
}
