package consensustest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/quorate/quorate/consensus"
)

// Fault is what happens to a proposal instead of being committed and answered.
type Fault int

// The faults, each for one proposal.
const (
	// UnknownCommitted appends and delivers the proposal, but answers Unknown.
	UnknownCommitted Fault = iota + 1
	// UnknownLost answers Unknown and never appends the proposal. Its sequence
	// is used up, as after a failed transfer of leadership: whatever follows in
	// the same term leaves a gap and is void.
	UnknownLost
	// RejectedOverloaded answers Rejected with ErrOverloaded; the sequence may be
	// proposed again.
	RejectedOverloaded
)

// FakeCluster is one replicated log, in memory, with a Fake per replica. All
// methods may be called concurrently, also while clients are in use.
type FakeCluster struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change of anything below
	entries  []consensus.Entry
	term     uint64
	leader   uint64
	ready    uint64 // index of the term's internal entry
	sequence uint64 // last one accepted in term
	faults   []Fault
	held     bool
	replicas []*Fake
	members  []consensus.Member

	configIndex uint64
	counts      struct{ committed, rejected, unknown, changes uint64 }
}

// NewFakeCluster returns n replicas, with ids 1 to n, over one empty log without
// a leader.
func NewFakeCluster(n int) *FakeCluster {
	c := &FakeCluster{changed: make(chan struct{})}
	for id := range n {
		c.replicas = append(c.replicas, newFake(c, uint64(id+1)))
		c.members = append(c.members, consensus.Member{ReplicaID: uint64(id + 1), BrokerID: int32(id + 1), Role: consensus.Voter})
	}
	return c
}

// Replica returns the client of a replica; ids count from 1.
func (c *FakeCluster) Replica(id uint64) *Fake { return c.replicas[id-1] }

// Elect makes replica the leader of term, ready at once: the term's internal
// entry is committed before it returns. It panics if term is not higher than
// every term before: a test that asks for that is wrong.
func (c *FakeCluster) Elect(replica, term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term <= c.term {
		panic(fmt.Sprintf("consensustest: elected in term %d after term %d", term, c.term))
	}
	c.electLocked(replica, term)
}

func (c *FakeCluster) electLocked(replica, term uint64) {
	c.term, c.leader, c.sequence = term, replica, 0
	c.appendLocked(consensus.Entry{Internal: true})
	c.ready = c.lastLocked()
	c.counts.changes++
	c.leadershipLocked()
}

// Depose leaves the log without a leader, in the same term.
func (c *FakeCluster) Depose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = consensus.NoLeader
	c.counts.changes++
	c.leadershipLocked()
}

// NextOutcome makes fault befall the next proposal that would be accepted.
// Several calls befall as many proposals, in order.
func (c *FakeCluster) NextOutcome(fault Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fault)
}

// NoFaults takes back what NextOutcome has ordered and has not happened yet.
func (c *FakeCluster) NoFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// Hold makes proposals wait, neither appended nor answered, until Release. A
// leadership that ends meanwhile makes them Unknown, and lost.
func (c *FakeCluster) Hold() { c.setHeld(true) }

// Release lets held proposals go on.
func (c *FakeCluster) Release() { c.setHeld(false) }

func (c *FakeCluster) setHeld(held bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = held
	c.signalLocked()
}

// AppendRaw commits an entry as it is, past every check: for entries that a
// broken or foreign writer would make. Its index is set and returned.
func (c *FakeCluster) AppendRaw(e consensus.Entry) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.Index = c.lastLocked() + 1
	e.Data = slices.Clone(e.Data)
	c.entries = append(c.entries, e)
	c.signalLocked()
	return e.Index
}

// Entries returns a copy of the whole log, what was compacted included: entries
// are kept for all replicas, only reading is refused below a replica's first.
func (c *FakeCluster) Entries() []consensus.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cloneEntries(c.entries)
}

func (c *FakeCluster) appendLocked(e consensus.Entry) {
	e.Index, e.Term = c.lastLocked()+1, c.term
	c.entries = append(c.entries, e)
	c.signalLocked()
}

func (c *FakeCluster) lastLocked() uint64 { return uint64(len(c.entries)) }

func (c *FakeCluster) signalLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *FakeCluster) leadershipLocked() {
	for _, r := range c.replicas {
		r.leadershipLocked()
	}
	c.signalLocked()
}

func (c *FakeCluster) takeFaultLocked() Fault {
	if len(c.faults) == 0 {
		return 0
	}
	f := c.faults[0]
	c.faults = c.faults[1:]
	return f
}

// newestSnapshotLocked is what a leader would send to a replica that lacks
// entries up to index.
func (c *FakeCluster) newestSnapshotLocked(index uint64) *fakeSnapshot {
	var best *fakeSnapshot
	for _, r := range c.replicas {
		if s := r.snapshot; s != nil && s.meta.Index >= index && (best == nil || s.meta.Index > best.meta.Index) {
			best = s
		}
	}
	return best
}

func cloneEntries(in []consensus.Entry) []consensus.Entry {
	out := make([]consensus.Entry, len(in))
	for i, e := range in {
		e.Data = slices.Clone(e.Data)
		out[i] = e
	}
	return out
}
