package kit

import (
	"fmt"
	"maps"
	"sync"

	"github.com/quorate/quorate/consensus"
)

// maxFindings is how many findings a case keeps per rule; the rest say no more.
const maxFindings = 5

// Finding is one way in which a rule was broken.
type Finding struct {
	Rule string `json:"rule"`
	What string `json:"what"`
}

// checks is what must hold over all replicas and all their lives in one case.
// Every mini-host tells it everything that it sees.
type checks struct {
	report func(Finding)

	mu        sync.Mutex
	found     map[string]int              // rule to how often it was broken
	chains    map[uint64]link             // index to what the log is up to there
	leaders   map[uint64]life             // term to who led in it
	terms     map[uint64]uint64           // replica to its highest term
	firsts    map[uint64]uint64           // term to the first index seen in it
	ready     map[uint64]uint64           // term to the ReadyIndex that was reported
	committed map[string]uint64           // command to the index that it was committed at
	highest   uint64                      // of committed
	rejected  map[string]consensus.Result // commands that must never be delivered
	delivered map[string]uint64           // command to index
	through   map[string]uint64           // command to the replica that was asked to append it
	order     map[uint64]uint64           // term to the last sequence that was admitted; of the longest log
	orderedTo uint64
	leaving   map[uint64]bool // the replicas that were removed, or are about to be
	torn      uint64          // != 0: entries of terms above it may be where others were, since the log has lost its tail
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

func newChecks(report func(Finding)) *checks {
	return &checks{
		report: report, found: map[string]int{}, chains: map[uint64]link{}, leaders: map[uint64]life{}, terms: map[uint64]uint64{},
		firsts: map[uint64]uint64{}, ready: map[uint64]uint64{}, committed: map[string]uint64{},
		rejected: map[string]consensus.Result{}, delivered: map[string]uint64{}, order: map[uint64]uint64{}, leaving: map[uint64]bool{}, through: map[string]uint64{},
	}
}

// breaks reports that a rule does not hold.
func (c *checks) breaks(rule, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breaksLocked(rule, format, args...)
}

func (c *checks) breaksLocked(rule, format string, args ...any) {
	if c.found[rule]++; c.found[rule] <= maxFindings {
		c.report(Finding{Rule: rule, What: fmt.Sprintf(format, args...)})
	}
}

// term takes the term of a replica, in the order in which it was seen.
func (c *checks) term(who life, term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if term < c.terms[who.replica] {
		c.breaksLocked("T1", "replica %d is in term %d after term %d", who.replica, term, c.terms[who.replica])
	}
	c.terms[who.replica] = max(c.terms[who.replica], term)
}

// termOf is the newest term of n that was seen.
func (c *checks) termOf(n *node) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.terms[n.id]
}

// leaves says that a replica is removed from now on.
func (c *checks) leaves(replica uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving[replica] = true
}

// leadership takes what a replica reports of itself.
func (c *checks) leadership(who life, l consensus.Leadership) {
	if l.Role == consensus.Removed {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.leaving[who.replica] {
			c.breaksLocked("M3", "replica %d says that it was removed, and nobody has removed it", who.replica)
		}
		return
	}
	if l.Role != consensus.Leader && l.Role != consensus.LeaderReady {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
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

// entry takes an entry that a replica delivered, with the digest of its log.
func (c *checks) entry(who life, e consensus.Entry, chain [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.torn != 0 && e.Term > c.torn {
		return
	}
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
	env, err := consensus.ParseEnvelope(e.Data)
	if err != nil {
		c.breaksLocked("D3", "entry %d is not what was proposed: %v", e.Index, err)
		return
	}
	c.commandLocked(e, env)
}

func (c *checks) commandLocked(e consensus.Entry, env consensus.Envelope) {
	name := nameOf(string(env.Payload))
	if at, ok := c.delivered[name]; ok && at != e.Index {
		c.breaksLocked("P4", "%q is at index %d and at %d", name, at, e.Index)
	}
	c.delivered[name] = e.Index
	if e.Index <= c.orderedTo {
		return
	}
	c.orderedTo = e.Index
	if env.ExpectedTerm != e.Term {
		// A backend that checks its term before it appends may lose that race; the
		// gate voids the entry. But nobody else may have appended it.
		if leader, known := c.leaders[e.Term]; known && leader.replica != c.through[name] {
			c.breaksLocked("P4", "%q was proposed to replica %d in term %d, and replica %d appended it in term %d",
				name, c.through[name], env.ExpectedTerm, leader.replica, e.Term)
		}
		return
	}
	if last := c.order[e.Term]; env.Sequence <= last {
		c.breaksLocked("P2", "index %d of term %d holds sequence %d after %d", e.Index, e.Term, env.Sequence, last)
	}
	c.order[e.Term] = env.Sequence
}

// proposed takes the replica that a command is about to be proposed to.
func (c *checks) proposed(command string, replica uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.through[nameOf(command)] = replica
}

// result takes the outcome of a proposal.
func (c *checks) result(command string, r consensus.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := nameOf(command)
	switch r.Outcome {
	case consensus.Committed:
		c.committed[name] = r.Index
		c.highest = max(c.highest, r.Index)
	case consensus.Rejected:
		c.rejected[name] = r
		fallthrough
	default:
		if r.Err == nil {
			c.breaksLocked("P3", "a %s result has no error", r.Outcome)
		}
	}
}

// chain returns the digest of the log up to index, if a replica delivered it.
func (c *checks) chain(index uint64) ([32]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.chains[index]
	return l.chain, ok
}

// wasDelivered tells whether some replica delivered the command.
func (c *checks) wasDelivered(command string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.delivered[nameOf(command)]
	return ok
}

// highestCommitted returns the highest index that a command was COMMITTED at.
func (c *checks) highestCommitted() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.highest
}

// undelivered returns a command that was COMMITTED at an index up to last and is not
// in applied, or "".
func (c *checks) undelivered(applied map[string]uint64, last uint64) (name string, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, index := range c.committed {
		if _, ok := applied[name]; !ok && index <= last {
			return name, index
		}
	}
	return "", 0
}

// acknowledged returns a copy of what was COMMITTED, and where.
func (c *checks) acknowledged() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.committed)
}

// count returns how many commands were COMMITTED.
func (c *checks) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.committed)
}

// tear prepares for a log that may have lost its tail: new terms may then write
// other entries where those of the terms so far were. Which terms those are is read
// from the entries: a term that is sampled from a replica's status may be seen late,
// or not at all, and then what the next term writes would be taken for a change of
// what was there.
func (c *checks) tear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.torn = 0
	for _, l := range c.chains {
		c.torn = max(c.torn, l.term)
	}
}

// elections returns in how many terms somebody led, and the highest term.
func (c *checks) elections() (won int, highest uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.terms {
		highest = max(highest, t)
	}
	return len(c.leaders), highest
}

// finish compares outcomes with what was delivered, once all replicas are down.
func (c *checks) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, index := range c.committed {
		if at, ok := c.delivered[name]; ok && at != index {
			c.breaksLocked("P3", "%q was committed at %d, and is at %d", name, index, at)
		} else if _, seen := c.chains[index]; !ok && seen {
			c.breaksLocked("P3", "%q was committed at %d, and something else is there", name, index)
		}
	}
	for name, r := range c.rejected {
		if at, ok := c.delivered[name]; ok {
			c.breaksLocked("P3", "%q was rejected (%v), and is at index %d", name, r.Err, at)
		}
	}
	for term, index := range c.ready {
		if first, ok := c.firsts[term]; ok && first != index {
			c.breaksLocked("T4", "term %d begins at index %d, its ready index is %d", term, first, index)
		}
	}
}
