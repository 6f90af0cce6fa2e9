package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// heartbeat keeps a member's session, and tells it when to rejoin. It is answered
// from memory: a member must not lose its session because replication is slow.
func (m *machine) heartbeat(t *coordinator.Turn, req *kmsg.HeartbeatRequest) protocol.ErrorCode {
	g := m.groups[req.Group]
	if g == nil {
		return protocol.UnknownMemberID
	}
	mem, code := g.check(req.MemberID, req.InstanceID)
	switch {
	case code != protocol.None:
		return code
	case req.Generation != g.generation:
		return protocol.IllegalGeneration
	}
	m.touch(t.Now, g, mem)
	if g.state == preparing {
		return protocol.RebalanceInProgress
	}
	return protocol.None
}
