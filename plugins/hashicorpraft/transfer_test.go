package hashicorpraft

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// The lead goes round under load: proposals are rejected meanwhile, and those
// that were sent behind a rejected one must not be applied before it, or twice.
func TestTransferUnderLoad(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 3)
	stop := c.load(16)
	c.more(20)
	for range 4 {
		leader, at := c.leader()
		to := at.Leader%3 + 1
		if err := leader.group.TransferLeadership(t.Context(), to); err != nil {
			t.Logf("to replica %d: %v", to, err) // it may fail, but nothing may be lost
		} else if l, _ := leader.group.Leadership(); l.Term <= at.Term || l.Role == consensus.LeaderReady && l.Term == at.Term {
			t.Errorf("handed over, and still %+v after %+v", l, at)
		}
		c.more(20)
	}
	stop()
	c.check()
}

func TestTransferTo(t *testing.T) {
	t.Parallel()
	c := bootstrap(t, 3)
	stop := c.load(4)
	learner := c.start(4, 4).open(consensus.OpenJoin)
	as := learner.member
	as.Role = consensus.LearnerMember
	c.change(consensus.AddLearner, learner.member, hasMember(as))

	leader, at := c.leader()
	if err := leader.group.TransferLeadership(t.Context(), at.Leader); err != nil {
		t.Errorf("to itself: %v", err)
	}
	for _, to := range []uint64{4, 99} {
		if err := leader.group.TransferLeadership(t.Context(), to); !errors.Is(err, consensus.ErrInvalidArgument) {
			t.Errorf("to replica %d, who can not lead: %v", to, err)
		}
	}
	for _, n := range c.all() {
		if n != leader && n != learner {
			if err := n.group.TransferLeadership(t.Context(), at.Leader); !errors.Is(err, consensus.ErrNotLeader) {
				t.Errorf("a follower: %v", err)
			}
		}
	}
	dead := c.nodes[at.Leader%3+1]
	dead.end()
	if err := leader.group.TransferLeadership(t.Context(), dead.member.ReplicaID); err == nil {
		t.Error("handed over to a dead replica")
	}
	c.more(20) // and proposals are taken again
	if err := handOver(t, c); err != nil {
		t.Errorf("to whoever is best: %v", err)
	}
	c.more(20)
	stop()
	c.check()
}

// handOver hands over to whoever is best, again if that fails.
func handOver(t *testing.T, c *cluster) (err error) {
	for range 20 {
		leader, _ := c.leader()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err = leader.group.TransferLeadership(ctx, consensus.NoLeader)
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// gated is a log whose writes wait while the gate is locked.
type gated struct {
	wal
	gate *sync.Mutex
}

func (g gated) StoreLogs(logs []*raft.Log) error {
	g.gate.Lock()
	defer g.gate.Unlock()
	return g.wal.StoreLogs(logs)
}

// While proposals are in flight the library is not asked: it would reject some,
// and take later ones. If they stay in flight nothing has changed.
func TestTransferWaitsForProposalsInFlight(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	gates := map[uint64]*sync.Mutex{}
	var members []consensus.Member
	var nodes []*node
	for id := uint64(1); id <= 3; id++ {
		n, gate := c.start(id, int32(id)), &sync.Mutex{}
		open := n.backend.openLog
		n.backend.openLog = func(dir string, o Options) (wal, error) {
			w, err := open(dir, o)
			return gated{w, gate}, err
		}
		gates[id] = gate
		nodes, members = append(nodes, n), append(members, n.member)
	}
	for _, n := range nodes {
		n.open(consensus.OpenBootstrap, members...)
	}
	leader, at := c.leader()
	c.eventually("both followers answer", func() bool {
		return leader.group.peers.answers(nodes[at.Leader%3].group.self) && leader.group.peers.answers(nodes[(at.Leader+1)%3].group.self)
	})
	gates[at.Leader].Lock() // its disk is slow
	fast := sync.OnceFunc(gates[at.Leader].Unlock)
	defer fast()
	propose := func(sequence uint64) <-chan consensus.Result {
		env := consensus.Envelope{ExpectedTerm: at.Term, Sequence: sequence, Payload: []byte("x")}
		results := make(chan consensus.Result, 1)
		leader.group.Propose(at.Term, env.Append(nil), func(r consensus.Result) { results <- r })
		return results
	}
	slow := propose(1)
	moved := make(chan error, 1)
	go func() { moved <- leader.group.TransferLeadership(t.Context(), at.Leader%3+1) }()
	c.eventually("proposals are held", func() bool {
		leader.group.mu.Lock()
		defer leader.group.mu.Unlock()
		return leader.group.drained != nil || len(moved) > 0
	})
	if r := <-propose(2); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrTransferPending) {
		t.Errorf("proposed during a transfer: %+v", r)
	}
	if err := <-moved; !errors.Is(err, consensus.ErrTimeout) {
		t.Errorf("a transfer with a proposal in flight: %v", err)
	}
	fast()
	if r := <-slow; r.Outcome != consensus.Committed {
		t.Errorf("what was in flight: %+v", r)
	}
	if l, _ := leader.group.Leadership(); l == at {
		if r := <-propose(2); r.Outcome != consensus.Committed {
			t.Errorf("after a transfer that was given up: %+v", r)
		}
	}
}
