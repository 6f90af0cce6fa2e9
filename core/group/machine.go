package group

import (
	"log/slog"
	"time"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// machine is the groups of one partition of __consumer_offsets. Its files are
// named for what is done to a group; record.go is how it is kept.
type machine struct {
	cfg    Config
	images Images
	timers *coordinator.Timers
	log    *slog.Logger

	groups map[string]*group
	sweep  *coordinator.Timer // looks for offsets that are not needed any more
}

func newMachine(cfg Config, images Images, timers *coordinator.Timers, log *slog.Logger) *machine {
	m := &machine{cfg: cfg, images: images, timers: timers, log: log, groups: map[string]*group{}}
	m.sweep = timers.New("", m.sweepOffsets)
	return m
}

// Start gives every member a whole session from now: how long ago it was heard
// of is not in the log.
func (m *machine) Start(t *coordinator.Turn) {
	for _, g := range m.groups {
		for _, mem := range g.members {
			m.touch(t.Now, g, mem)
		}
	}
	m.sweep.Set(t.Now.Add(m.cfg.OffsetsRetentionCheckInterval))
}

// Stop answers everybody who waits for a rebalance.
func (m *machine) Stop(err error) {
	code := protocol.CodeOf(err)
	for _, g := range m.groups {
		for _, mem := range g.members {
			mem.failJoin(code)
			mem.failSync(code)
		}
	}
}

// open returns a group, and makes it if there is none.
func (m *machine) open(id string) *group {
	g := m.groups[id]
	if g == nil {
		g = newGroup(id)
		m.groups[id] = g
	}
	return g
}

// found is open for what clients ask for: it does not make more groups than it may.
func (m *machine) found(id string) (*group, protocol.ErrorCode) {
	if m.groups[id] == nil && len(m.groups) >= m.cfg.MaxGroups {
		m.log.Warn("a client's new group is refused: this partition holds as many as it may", "group", id, "max_groups", m.cfg.MaxGroups)
		return nil, protocol.CoordinatorNotAvailable
	}
	return m.open(id), protocol.None
}

// forgetUnused drops a group that nothing is left of.
func (m *machine) forgetUnused(g *group) {
	if !g.unused() || m.groups[g.id] != g {
		return
	}
	g.become(dead)
	delete(m.groups, g.id)
	for _, timer := range []*coordinator.Timer{g.rebalance, g.syncing} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// touch begins the member's session anew.
func (m *machine) touch(now time.Time, g *group, mem *member) {
	m.touchFor(now, g, mem, mem.sessionTimeout)
}

func (m *machine) touchFor(now time.Time, g *group, mem *member, session time.Duration) {
	if mem.session == nil {
		mem.session = m.timers.New(g.id, func(t *coordinator.Turn) { m.expireSession(t, g, mem) })
	}
	mem.session.Set(now.Add(session))
}

// expireSession removes a member that was not heard of. One that waits for an
// answer from here is not expected to be, unless it has just come.
func (m *machine) expireSession(t *coordinator.Turn, g *group, mem *member) {
	if g.members[mem.id] != mem || !mem.fresh && (mem.join != nil || mem.sync != nil) {
		return
	}
	m.log.Info("a member's session has expired", "group", g.id, "member", mem.id)
	g.drop(mem, protocol.UnknownMemberID)
	m.afterLeaving(t, g)
}

// afterLeaving goes on without members that are gone.
func (m *machine) afterLeaving(t *coordinator.Turn, g *group) {
	switch g.state {
	case stable, completing:
		m.prepare(t, g)
	case preparing:
		m.completeIfJoined(t, g)
	case empty, dead:
	}
	m.forgetUnused(g)
}
