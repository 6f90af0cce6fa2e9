package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// Versions of JoinGroup at which what it says changed.
const (
	joinNeedsMemberID    = 4 // a new member is first given its id (KIP-394)
	joinSkipsAssignment  = 9 // the leader can be told not to assign (KIP-814)
	syncChecksProtocol   = 5
	leaveManyMembers     = 3
	fetchManyGroups      = 8
	commitHasNoRetention = 5
)

// join takes a member into a group, or has it rejoin.
func (m *machine) join(t *coordinator.Turn, req *kmsg.JoinGroupRequest, client ClientInfo, r coordinator.Reply[*kmsg.JoinGroupResponse]) {
	reply := &joinReply{version: req.Version, to: r}
	if m.groups[req.Group] == nil && req.MemberID != "" {
		reply.fail(req.MemberID, protocol.UnknownMemberID)
		return
	}
	g, code := m.found(req.Group)
	if code != protocol.None {
		reply.fail(req.MemberID, code)
		return
	}
	switch {
	case !m.hasRoom(g, req.MemberID), g.bytesWithout(req.MemberID)+protocolBytes(req) > m.cfg.MaxGroupBytes:
		reply.fail("", protocol.GroupMaxSizeReached)
	case !g.compatible(req):
		reply.fail(req.MemberID, protocol.InconsistentGroupProtocol)
	case req.MemberID == "":
		m.joinNew(t, g, req, client, reply)
	default:
		m.joinKnown(t, g, req, client, reply)
	}
	m.forgetUnused(g)
}

// hasRoom reports whether a member may join. Those who were only given an id
// count too: else their number would have no bound.
func (m *machine) hasRoom(g *group, id string) bool {
	mem := g.members[id]
	switch {
	case mem != nil && (g.state != preparing || mem.join != nil):
		return true
	case g.state == preparing: // whoever does not rejoin makes room
		return g.joining()+len(g.pending) < m.cfg.MaxGroupSize || g.pending[id] != nil && g.joining() < m.cfg.MaxGroupSize
	case g.pending[id] != nil:
		return len(g.members) < m.cfg.MaxGroupSize
	default:
		return len(g.members)+len(g.pending) < m.cfg.MaxGroupSize
	}
}

// joinNew takes in a member that has no id.
func (m *machine) joinNew(t *coordinator.Turn, g *group, req *kmsg.JoinGroupRequest, client ClientInfo, reply *joinReply) {
	id := newMemberID(client, req.InstanceID)
	if req.InstanceID != nil {
		if old := g.members[g.instances[*req.InstanceID]]; old != nil {
			m.replaceStatic(t, g, old, id, req, client, reply)
			return
		}
		m.addMember(t, g, id, req, client, reply)
		return
	}
	if req.Version < joinNeedsMemberID {
		m.addMember(t, g, id, req, client, reply)
		return
	}
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	timer := m.timers.New(g.id, func(t *coordinator.Turn) {
		delete(g.pending, id)
		m.afterPending(t, g)
	})
	timer.Set(t.Now.Add(session))
	g.pending[id] = timer
	reply.fail(id, protocol.MemberIDRequired)
}

// afterPending goes on without somebody who was given an id.
func (m *machine) afterPending(t *coordinator.Turn, g *group) {
	if g.state == preparing {
		m.completeIfJoined(t, g)
	}
	m.forgetUnused(g)
}

// joinKnown takes in a member that was given an id, or that is in the group.
func (m *machine) joinKnown(t *coordinator.Turn, g *group, req *kmsg.JoinGroupRequest, client ClientInfo, reply *joinReply) {
	if timer := g.pending[req.MemberID]; timer != nil && req.InstanceID == nil {
		timer.Stop()
		delete(g.pending, req.MemberID)
		m.addMember(t, g, req.MemberID, req, client, reply)
		return
	}
	mem, code := g.check(req.MemberID, req.InstanceID)
	if code != protocol.None {
		reply.fail(req.MemberID, code)
		return
	}
	m.rejoin(t, g, mem, req, client, reply)
}

// rejoin begins a rebalance if the member has something to say that the group
// does not know. Otherwise its last answer was lost, and it gets it again.
func (m *machine) rejoin(t *coordinator.Turn, g *group, mem *member, req *kmsg.JoinGroupRequest, client ClientInfo, reply *joinReply) {
	leads := mem.id == g.leader
	switch {
	case g.state == completing && mem.matches(req):
		reply.to.Send(reply.current(g, mem, leads))
	case g.state == stable && !leads && mem.matches(req):
		reply.to.SendCommitted(t, reply.current(g, mem, false))
	case g.state == empty || g.state == dead:
		reply.fail(mem.id, protocol.UnknownMemberID)
	default:
		mem.update(req, client)
		mem.failJoin(protocol.RebalanceInProgress) // an older request of the same member
		mem.join = reply
		m.rebalance(t, g)
	}
}

func (m *machine) addMember(t *coordinator.Turn, g *group, id string, req *kmsg.JoinGroupRequest, client ClientInfo, reply *joinReply) {
	mem := &member{id: id, instance: req.InstanceID, fresh: true, join: reply}
	mem.update(req, client)
	if len(g.members) == 0 {
		g.protocolType = req.ProtocolType
	}
	g.add(mem)
	g.extend = g.extend || g.state == preparing && g.previous == empty
	m.touchFor(t.Now, g, mem, m.cfg.NewMemberJoinTimeout)
	m.rebalance(t, g)
}
