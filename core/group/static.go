package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// replaceStatic gives the place of a static member to its next incarnation, with
// a new member id; whoever still uses the old one is fenced (KIP-345). A stable
// group goes on as it is if the newcomer does not change what it agreed on.
func (m *machine) replaceStatic(t *coordinator.Turn, g *group, old *member, id string, req *kmsg.JoinGroupRequest, client ClientInfo, reply *joinReply) {
	successor := &member{
		id:         id,
		instance:   old.instance,
		assignment: old.assignment,
		order:      old.order,
	}
	successor.update(req, client)
	if g.state == stable && g.chooseWith(old, successor) == g.protocol {
		m.succeedQuietly(t, g, old, successor, reply)
		return
	}
	g.succeed(old, successor)
	successor.join = reply
	m.touch(t.Now, g, successor)
	m.rebalance(t, g)
}

// chooseWith is choose as if successor were in old's place.
func (g *group) chooseWith(old, successor *member) string {
	delete(g.members, old.id)
	g.members[successor.id] = successor
	chosen := g.choose()
	delete(g.members, successor.id)
	g.members[old.id] = old
	return chosen
}

// succeed puts successor in old's place, as leader too.
func (g *group) succeed(old, successor *member) {
	led := g.leader == old.id
	g.drop(old, protocol.FencedInstanceID)
	g.members[successor.id] = successor
	g.instances[*successor.instance] = successor.id
	if led {
		g.leader = successor.id
	}
}

// succeedQuietly writes the group with successor in old's place; memory follows
// the log.
func (m *machine) succeedQuietly(t *coordinator.Turn, g *group, old, successor *member, reply *joinReply) {
	oldLeader := g.leader
	v := g.record(t.Now, g.assignments())
	v.CurrentStateTimestamp = g.since.UnixMilli()
	for i := range v.Members {
		if v.Members[i].MemberID == old.id {
			v.Members[i] = successorRecord(v.Members[i], g, successor)
		}
	}
	if oldLeader == old.id {
		v.Leader = new(successor.id)
	}
	t.Write(groupKey(g.id), v.AppendTo(nil))
	var welcome *kmsg.JoinGroupResponse
	t.OnApplied(func(err error) {
		if err != nil {
			return
		}
		g.members[successor.id] = successor // knows all its protocols; the record has one
		m.touch(t.Now, g, successor)
		welcome = welcomeBack(g, successor, oldLeader, reply)
		m.log.Info("a static member has come back", "group", g.id, "member", successor.id)
	})
	t.OnCommitted(func(err error) {
		if err != nil {
			reply.fail(successor.id, groupCode(err))
			return
		}
		reply.to.Send(welcome)
	})
}

func successorRecord(rm kmsg.GroupMetadataValueMember, g *group, successor *member) kmsg.GroupMetadataValueMember {
	rm.MemberID, rm.ClientID, rm.ClientHost = successor.id, successor.clientID, successor.clientHost
	rm.RebalanceTimeoutMillis = int32(successor.rebalanceTimeout.Milliseconds())
	rm.SessionTimeoutMillis = int32(successor.sessionTimeout.Milliseconds())
	rm.Subscription = successor.metadata(g.protocol)
	return rm
}

// welcomeBack answers a static member's return without a rebalance. If it is the
// leader it must not assign again: a client that cannot be told so is told that
// its former self leads.
func welcomeBack(g *group, successor *member, oldLeader string, reply *joinReply) *kmsg.JoinGroupResponse {
	leads := g.leader == successor.id
	if reply.version < joinSkipsAssignment {
		resp := reply.current(g, successor, false)
		resp.LeaderID = oldLeader
		return resp
	}
	resp := reply.current(g, successor, leads)
	resp.SkipAssignment = leads
	return resp
}
