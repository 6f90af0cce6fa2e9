package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// sync brings the leader's assignment, or fetches one's own.
func (m *machine) sync(t *coordinator.Turn, req *kmsg.SyncGroupRequest, r coordinator.Reply[*kmsg.SyncGroupResponse]) {
	reply := &syncReply{version: req.Version, to: r}
	g, mem, code := m.checkSync(req)
	if code != protocol.None {
		reply.fail(code)
		return
	}
	delete(g.unsynced, mem.id)
	if len(g.unsynced) == 0 && g.syncing != nil {
		g.syncing.Stop()
	}
	if g.state == stable {
		m.touch(t.Now, g, mem)
		r.SendCommitted(t, reply.assigned(g, mem))
		return
	}
	mem.failSync(protocol.RebalanceInProgress) // an older request of the same member
	mem.sync = reply
	if mem.id == g.leader {
		m.assign(t, g, req)
	}
}

func (m *machine) checkSync(req *kmsg.SyncGroupRequest) (*group, *member, protocol.ErrorCode) {
	g := m.groups[req.Group]
	if g == nil {
		return nil, nil, protocol.UnknownMemberID
	}
	mem, code := g.check(req.MemberID, req.InstanceID)
	switch {
	case code != protocol.None:
		return nil, nil, code
	case req.Generation != g.generation:
		return nil, nil, protocol.IllegalGeneration
	case req.Version >= syncChecksProtocol && (differs(req.ProtocolType, g.protocolType) || differs(req.Protocol, g.protocol)):
		return nil, nil, protocol.InconsistentGroupProtocol
	case g.state == preparing:
		return nil, nil, protocol.RebalanceInProgress
	case g.state == empty || g.state == dead:
		return nil, nil, protocol.UnknownMemberID
	}
	return g, mem, protocol.None
}

// differs reports whether a client names something else than what is.
func differs(named *string, is string) bool { return named != nil && *named != is }

// assign writes the leader's assignment into the log. The group is stable as soon
// as the record is there; the members hear of it when it is committed.
func (m *machine) assign(t *coordinator.Turn, g *group, req *kmsg.SyncGroupRequest) {
	assignments := make(map[string][]byte, len(req.GroupAssignment))
	for _, a := range req.GroupAssignment {
		assignments[a.MemberID] = slices.Clone(a.MemberAssignment)
	}
	v := g.record(t.Now, assignments)
	t.Write(groupKey(g.id), v.AppendTo(nil))
	var answer []func(error)
	t.OnApplied(func(err error) {
		if err != nil {
			m.log.Warn("a group's assignment could not be written", "group", g.id, "generation", g.generation, "error", err)
			m.abandonSync(t.Now, g, groupCode(err))
			m.prepare(t, g)
			return
		}
		for _, mem := range g.inOrder() {
			if mem.sync != nil {
				answer = append(answer, assignedOrFailed(mem.sync, mem.sync.assigned(g, mem)))
				mem.sync = nil
				m.touch(t.Now, g, mem)
			}
		}
	})
	t.OnCommitted(func(err error) {
		for _, f := range answer {
			f(err)
		}
	})
}

func assignedOrFailed(r *syncReply, resp *kmsg.SyncGroupResponse) func(error) {
	return func(err error) {
		if err != nil {
			r.fail(groupCode(err))
			return
		}
		r.to.Send(resp)
	}
}

// groupCode is what a client is told of a failed write of its group.
func groupCode(err error) protocol.ErrorCode {
	switch code := protocol.CodeOf(err); code {
	case protocol.MessageTooLarge, protocol.RecordListTooLarge: // it cannot be told to send less
		return protocol.UnknownServerError
	default:
		return code
	}
}
