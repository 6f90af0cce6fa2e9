package consensustest

import (
	"maps"
	"slices"
	"sync"

	"github.com/quorate/quorate/consensus"
)

// checks is what must hold over all nodes and all their lives in one case. Every
// node tells it everything that it sees.
type checks struct {
	t T

	mu        sync.Mutex
	broken    map[string]bool
	chains    map[uint64]link             // index to what the log is up to there
	leaders   map[uint64]life             // term to who led in it
	terms     map[uint64]uint64           // replica to its highest term
	firsts    map[uint64]uint64           // term to the first index seen in it
	ready     map[uint64]uint64           // term to the ReadyIndex that was reported
	committed map[string]uint64           // payload to the index that it was committed at
	rejected  map[string]consensus.Result // payloads that must never be delivered
	delivered map[string]uint64           // payload to index
}

type life struct {
	replica uint64
	number  int
}

// link is an entry and the digest of the whole log up to it.
type link struct {
	term  uint64
	chain [32]byte
}

func newChecks(t T) *checks {
	return &checks{
		t: t, broken: map[string]bool{}, chains: map[uint64]link{}, leaders: map[uint64]life{}, terms: map[uint64]uint64{},
		firsts: map[uint64]uint64{}, ready: map[uint64]uint64{}, committed: map[string]uint64{},
		rejected: map[string]consensus.Result{}, delivered: map[string]uint64{},
	}
}

// breaks reports that a rule does not hold.
func (c *checks) breaks(rule, format string, args ...any) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breaksLocked(rule, format, args...)
}

func (c *checks) breaksLocked(rule, format string, args ...any) {
	c.t.Helper()
	c.broken[rule] = true
	c.t.Errorf(rule+": "+format, args...)
}

func (c *checks) brokenRules() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.broken))
}

// leadership takes what a node reports of itself.
func (c *checks) leadership(who life, l consensus.Leadership) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.Term < c.terms[who.replica] {
		c.breaksLocked("T1", "replica %d is in term %d after term %d", who.replica, l.Term, c.terms[who.replica])
	}
	c.terms[who.replica] = max(c.terms[who.replica], l.Term)
	if l.Role != consensus.Leader && l.Role != consensus.LeaderReady {
		return
	}
	if l.Leader != who.replica {
		c.breaksLocked("T2", "replica %d says %s, and that the leader is %d", who.replica, l.Role, l.Leader)
	}
	switch before, ok := c.leaders[l.Term]; {
	case !ok:
		c.leaders[l.Term] = who
	case before.replica != who.replica:
		c.breaksLocked("T2", "replicas %d and %d both lead in term %d", before.replica, who.replica, l.Term)
	case before.number != who.number:
		c.breaksLocked("T3", "replica %d leads in term %d again after a restart", who.replica, l.Term)
	}
	if l.Role == consensus.LeaderReady {
		c.ready[l.Term] = l.ReadyIndex
	}
}

// entry takes an entry that a node delivered, with the digest of its log.
func (c *checks) entry(who life, e consensus.Entry, chain [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	this := link{term: e.Term, chain: chain}
	if before, ok := c.chains[e.Index]; ok && before != this {
		c.breaksLocked("D3", "index %d on replica %d (term %d) is not what it was elsewhere or before (term %d)", e.Index, who.replica, e.Term, before.term)
	}
	c.chains[e.Index] = this
	if first, ok := c.firsts[e.Term]; !ok || e.Index < first {
		c.firsts[e.Term] = e.Index
	}
	if e.Internal {
		if len(e.Data) > 0 {
			c.breaksLocked("D2", "internal entry %d has data", e.Index)
		}
		return
	}
	if env, err := consensus.ParseEnvelope(e.Data); err != nil {
		c.breaksLocked("D3", "entry %d is not what was proposed: %v", e.Index, err)
	} else {
		c.payloadLocked(string(env.Payload), e.Index)
	}
}

func (c *checks) payloadLocked(payload string, index uint64) {
	if at, ok := c.delivered[payload]; ok && at != index {
		c.breaksLocked("P4", "%.40q is at index %d and at %d", payload, at, index)
	}
	c.delivered[payload] = index
}

// result takes the outcome of a proposal.
func (c *checks) result(payload string, r consensus.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Outcome {
	case consensus.Committed:
		c.committed[payload] = r.Index
	case consensus.Rejected:
		c.rejected[payload] = r
		fallthrough
	default:
		if r.Err == nil {
			c.breaksLocked("P3", "a %s result has no error", r.Outcome)
		}
	}
}

// chain returns the digest of the log up to index, if a node delivered it.
func (c *checks) chain(index uint64) ([32]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.chains[index]
	return l.chain, ok
}

// acknowledged returns how many proposals were COMMITTED.
func (c *checks) acknowledged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.committed)
}

// finish compares outcomes with what was delivered, once all nodes have stopped.
func (c *checks) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, index := range c.committed {
		if at, ok := c.delivered[p]; ok && at != index {
			c.breaksLocked("P3", "%.40q was committed at %d, and is at %d", p, index, at)
		} else if _, seen := c.chains[index]; !ok && seen {
			c.breaksLocked("P3", "%.40q was committed at %d, and something else is there", p, index)
		}
	}
	for p, r := range c.rejected {
		if at, ok := c.delivered[p]; ok {
			c.breaksLocked("P3", "%.40q was rejected (%v), and is at index %d", p, r.Err, at)
		}
	}
	for term, index := range c.ready {
		if first, ok := c.firsts[term]; ok && first != index {
			c.breaksLocked("T4", "term %d begins at index %d, its ready index is %d", term, first, index)
		}
	}
}
