package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// leave removes members, one code for each. Those who stay rebalance.
func (m *machine) leave(t *coordinator.Turn, group string, members []kmsg.LeaveGroupRequestMember) []protocol.ErrorCode {
	codes := make([]protocol.ErrorCode, len(members))
	g := m.groups[group]
	left := false
	for i := range members {
		codes[i] = protocol.UnknownMemberID
		if g != nil {
			codes[i] = m.leaveOne(g, members[i].MemberID, members[i].InstanceID)
		}
		left = left || codes[i] == protocol.None
	}
	if left {
		m.afterLeaving(t, g)
	}
	return codes
}

// leaveOne removes a member. An administrator names a static one by its instance
// alone.
func (m *machine) leaveOne(g *group, id string, instance *string) protocol.ErrorCode {
	if id == "" && instance != nil {
		id = g.instances[*instance]
	}
	if timer := g.pending[id]; timer != nil {
		timer.Stop()
		delete(g.pending, id)
		return protocol.None
	}
	mem, code := g.check(id, instance)
	if code != protocol.None {
		return code
	}
	m.log.Info("a member has left", "group", g.id, "member", mem.id)
	g.drop(mem, protocol.UnknownMemberID)
	return protocol.None
}
