package group

import (
	"time"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// rebalance begins one, or ends the one that is under way if nobody is missing.
func (m *machine) rebalance(t *coordinator.Turn, g *group) {
	if g.state == preparing {
		m.completeIfJoined(t, g)
		return
	}
	m.prepare(t, g)
}

// prepare begins a rebalance: members are told to join again and have as long as
// the slowest of them asked for. A group that was empty waits for more members
// instead, so that it does not rebalance for each of them.
func (m *machine) prepare(t *coordinator.Turn, g *group) {
	if g.state == completing {
		m.abandonSync(t.Now, g, protocol.RebalanceInProgress)
	}
	if g.syncing != nil {
		g.syncing.Stop()
	}
	if g.rebalance == nil {
		g.rebalance = m.timers.New(g.id, func(t *coordinator.Turn) { m.rebalanceTimeout(t, g) })
	}
	g.become(preparing)
	if g.previous == empty {
		g.extend, g.extension = false, max(g.rebalanceTimeout()-m.cfg.InitialRebalanceDelay, 0)
		g.rebalance.Set(t.Now.Add(m.cfg.InitialRebalanceDelay))
		return
	}
	m.log.Info("a group rebalances", "group", g.id, "generation", g.generation, "members", len(g.members))
	if g.allJoined() {
		m.complete(t, g)
		return
	}
	g.rebalance.Set(t.Now.Add(g.rebalanceTimeout()))
}

// abandonSync answers those who wait for an assignment that will not come.
func (m *machine) abandonSync(now time.Time, g *group, code protocol.ErrorCode) {
	for _, mem := range g.members {
		mem.assignment = nil
		if mem.sync != nil {
			mem.failSync(code)
			m.touch(now, g, mem)
		}
	}
}

// rebalanceTimeout ends the wait for members, unless it is the first one and
// somebody has come meanwhile.
func (m *machine) rebalanceTimeout(t *coordinator.Turn, g *group) {
	if g.state != preparing {
		return
	}
	if g.previous == empty && g.extend && g.extension > 0 {
		delay := min(m.cfg.InitialRebalanceDelay, g.extension)
		g.extend, g.extension = false, g.extension-delay
		g.rebalance.Set(t.Now.Add(delay))
		return
	}
	m.complete(t, g)
}

// completeIfJoined ends the rebalance if nobody is missing. The first one always
// takes its time.
func (m *machine) completeIfJoined(t *coordinator.Turn, g *group) {
	if g.previous != empty && g.allJoined() {
		m.complete(t, g)
	}
}

// complete ends the wait for members: those who did not rejoin are out, the
// others begin the next generation. Static members may be away.
func (m *machine) complete(t *coordinator.Turn, g *group) {
	g.rebalance.Stop()
	for _, mem := range g.inOrder() {
		if mem.join == nil && mem.instance == nil {
			m.log.Info("a member did not rejoin in time", "group", g.id, "member", mem.id)
			g.drop(mem, protocol.UnknownMemberID)
		}
	}
	if len(g.members) == 0 {
		m.becomeEmpty(t, g)
		return
	}
	if !g.elect() {
		g.rebalance.Set(t.Now.Add(g.rebalanceTimeout()))
		return
	}
	g.generation++
	g.protocol = g.choose()
	g.become(completing)
	m.log.Info("a group has a new generation", "group", g.id, "generation", g.generation, "members", len(g.members), "protocol", g.protocol)
	m.awaitSync(t.Now, g)
	m.answerJoins(t.Now, g)
}

func (m *machine) answerJoins(now time.Time, g *group) {
	for _, mem := range g.inOrder() {
		mem.fresh = false
		if mem.join != nil {
			mem.join.to.Send(mem.join.current(g, mem, mem.id == g.leader))
			mem.join = nil
		}
		m.touch(now, g, mem)
	}
}

// awaitSync gives every member as long as a rebalance may take to fetch its
// assignment.
func (m *machine) awaitSync(now time.Time, g *group) {
	clear(g.unsynced)
	for id := range g.members {
		g.unsynced[id] = struct{}{}
	}
	if g.syncing == nil {
		g.syncing = m.timers.New(g.id, func(t *coordinator.Turn) { m.syncTimeout(t, g) })
	}
	g.syncing.Set(now.Add(g.rebalanceTimeout()))
}

// syncTimeout removes the members that did not fetch their assignment.
func (m *machine) syncTimeout(t *coordinator.Turn, g *group) {
	if g.state != completing && g.state != stable || len(g.unsynced) == 0 {
		return
	}
	for _, mem := range g.inOrder() {
		if _, owes := g.unsynced[mem.id]; owes {
			m.log.Info("a member did not fetch its assignment in time", "group", g.id, "member", mem.id)
			g.drop(mem, protocol.UnknownMemberID)
		}
	}
	m.prepare(t, g)
}

// emptyRetry is the pause before the record of an empty group is written again.
const emptyRetry = time.Second

// becomeEmpty begins a generation without members. Memory does not wait for the
// log here: there is nobody left who could be told otherwise, and after a
// failover the members that the log still has time out once more.
func (m *machine) becomeEmpty(t *coordinator.Turn, g *group) {
	g.generation++
	g.protocol, g.leader = "", ""
	g.become(empty)
	m.log.Info("a group has become empty", "group", g.id, "generation", g.generation)
	m.writeEmpty(t, g)
}

func (m *machine) writeEmpty(t *coordinator.Turn, g *group) {
	v := g.record(t.Now, nil)
	t.Write(groupKey(g.id), v.AppendTo(nil))
	t.OnApplied(func(err error) {
		if err == nil {
			return
		}
		again := m.timers.New(g.id, func(t *coordinator.Turn) {
			if m.groups[g.id] == g && g.state == empty {
				m.writeEmpty(t, g)
			}
		})
		again.Set(t.Now.Add(emptyRetry))
	})
}
