package group

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// group is one group. It belongs to the shard's goroutine.
type group struct {
	id string

	// What the group's record in the log says; memory may be ahead of it while the
	// group rebalances.
	recorded     bool // there is such a record
	protocolType string
	generation   int32
	protocol     string // the chosen one; "" if none
	leader       string // member id; "" if none
	since        time.Time
	members      map[string]*member
	offsets      map[topicPartition]offset

	// What is not in the log.
	state, previous state
	instances       map[string]string             // instance id to member id
	pending         map[string]*coordinator.Timer // member ids that were given out and did not join yet
	unsynced        map[string]struct{}           // members that owe a SyncGroup for this generation
	joined          uint64                        // how many members there have been

	rebalance *coordinator.Timer // the end of preparing
	// extend is set when a member joins during the first rebalance, which then waits
	// once more, for at most extension altogether.
	extend    bool
	extension time.Duration
	syncing   *coordinator.Timer // the end of the wait for SyncGroups
}

func newGroup(id string) *group {
	return &group{
		id:        id,
		members:   map[string]*member{},
		offsets:   map[topicPartition]offset{},
		instances: map[string]string{},
		pending:   map[string]*coordinator.Timer{},
		unsynced:  map[string]struct{}{},
	}
}

func (g *group) become(s state) { g.previous, g.state = g.state, s }

// inOrder returns the members in the order in which they came.
func (g *group) inOrder() []*member {
	return slices.SortedFunc(maps.Values(g.members), func(a, b *member) int { return cmp.Compare(a.order, b.order) })
}

func (g *group) add(m *member) {
	if len(g.members) == 0 {
		g.leader = ""
	}
	g.joined++
	m.order = g.joined
	g.members[m.id] = m
	if m.instance != nil {
		g.instances[*m.instance] = m.id
	}
	if g.leader == "" {
		g.leader = m.id
	}
}

// drop takes a member out and answers what it waits for with code.
func (g *group) drop(m *member, code protocol.ErrorCode) {
	delete(g.members, m.id)
	delete(g.unsynced, m.id)
	if m.instance != nil && g.instances[*m.instance] == m.id {
		delete(g.instances, *m.instance)
	}
	if m.session != nil {
		m.session.Stop()
	}
	m.failJoin(code)
	m.failSync(code)
	if g.leader != m.id {
		return
	}
	g.leader = ""
	if rest := g.inOrder(); len(rest) > 0 {
		g.leader = rest[0].id
	}
}

// check says whether a request that names a member may speak for it (KIP-345).
func (g *group) check(id string, instance *string) (*member, protocol.ErrorCode) {
	if instance != nil {
		current, ok := g.instances[*instance]
		if !ok {
			return nil, protocol.UnknownMemberID
		}
		if current != id {
			return nil, protocol.FencedInstanceID
		}
	}
	m := g.members[id]
	if m == nil {
		return nil, protocol.UnknownMemberID
	}
	return m, protocol.None
}

// joining returns how many members wait for the rebalance to end.
func (g *group) joining() int {
	n := 0
	for _, m := range g.members {
		if m.join != nil {
			n++
		}
	}
	return n
}

// bytesWithout returns how much the other members tell their leader.
func (g *group) bytesWithout(id string) int {
	n := 0
	for _, m := range g.members {
		if m.id == id {
			continue
		}
		for _, p := range m.protocols {
			n += len(p.name) + len(p.metadata)
		}
	}
	return n
}

// allJoined reports whether nobody is missing in the rebalance.
func (g *group) allJoined() bool { return len(g.pending) == 0 && g.joining() == len(g.members) }

// rebalanceTimeout is the longest that any member asks for.
func (g *group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// compatible reports whether a member with these protocols can be in the group.
func (g *group) compatible(req *kmsg.JoinGroupRequest) bool {
	if len(g.members) == 0 {
		return req.ProtocolType != "" && len(req.Protocols) > 0
	}
	return req.ProtocolType == g.protocolType && slices.ContainsFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return g.everybodySupports(p.Name)
	})
}

func (g *group) everybodySupports(name string) bool {
	for _, m := range g.members {
		if !m.supports(name) {
			return false
		}
	}
	return true
}

// choose has every member vote for the first of its protocols that all of them
// support, and returns the one with the most votes. Of equals the first by name
// wins, so that a group does not change its mind without reason.
func (g *group) choose() string {
	votes := map[string]int{}
	candidates := map[string]bool{}
	for _, m := range g.members {
		for _, p := range m.protocols {
			ok, known := candidates[p.name]
			if !known {
				ok = g.everybodySupports(p.name)
				candidates[p.name] = ok
			}
			if ok {
				votes[p.name]++
				break
			}
		}
	}
	best := ""
	for _, name := range slices.Sorted(maps.Keys(votes)) {
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// elect makes sure that the leader is one who takes part in the rebalance. It
// reports whether there is one.
func (g *group) elect() bool {
	if leader := g.members[g.leader]; leader != nil && leader.join != nil {
		return true
	}
	for _, m := range g.inOrder() {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// unused reports whether nothing is left that a group is kept for.
func (g *group) unused() bool {
	return !g.recorded && len(g.members) == 0 && len(g.pending) == 0 && len(g.offsets) == 0
}
