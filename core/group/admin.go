package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// list returns the groups that pass the filters; an empty filter passes all.
func (m *machine) list(states, types []string) []kmsg.ListGroupsResponseGroup {
	if !passes(types, classicType) {
		return nil
	}
	var out []kmsg.ListGroupsResponseGroup
	for _, g := range m.groups {
		if !passes(states, g.state.String()) {
			continue
		}
		lg := kmsg.NewListGroupsResponseGroup()
		lg.Group, lg.ProtocolType, lg.GroupState, lg.GroupType = g.id, g.protocolType, g.state.String(), classicType
		out = append(out, lg)
	}
	return out
}

func passes(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}

// describe returns a group; one that there is none of is dead.
func (m *machine) describe(id string) kmsg.DescribeGroupsResponseGroup {
	dg := kmsg.NewDescribeGroupsResponseGroup()
	dg.Group = id
	g := m.groups[id]
	if g == nil {
		dg.State = dead.String()
		return dg
	}
	dg.State, dg.ProtocolType = g.state.String(), g.protocolType
	if g.state == stable {
		dg.Protocol = g.protocol
	}
	for _, mem := range g.inOrder() {
		dm := kmsg.NewDescribeGroupsResponseGroupMember()
		dm.MemberID, dm.InstanceID, dm.ClientID, dm.ClientHost = mem.id, mem.instance, mem.clientID, mem.clientHost
		if g.state == stable {
			dm.ProtocolMetadata, dm.MemberAssignment = mem.metadata(g.protocol), mem.assignment
		}
		dg.Members = append(dg.Members, dm)
	}
	return dg
}

// remove deletes a group and its offsets. more says that there was too much for
// one turn.
func (m *machine) remove(t *coordinator.Turn, id string) (code protocol.ErrorCode, more bool) {
	g := m.groups[id]
	switch {
	case g == nil:
		return protocol.GroupIDNotFound, false
	case g.state != empty || len(g.pending) > 0:
		return protocol.NonEmptyGroup, false
	}
	ts := &tombstones{turn: t}
	for _, tp := range g.sortedOffsets() {
		if ts.full() {
			return protocol.None, true
		}
		ts.write(offsetKey(id, tp))
	}
	ts.write(groupKey(id))
	m.log.Info("a group is deleted", "group", id)
	return protocol.None, false
}

// removeOffsets deletes offsets of a group, one code for each partition.
func (m *machine) removeOffsets(t *coordinator.Turn, req *kmsg.OffsetDeleteRequest, img *metadata.Image) ([][]protocol.ErrorCode, protocol.ErrorCode) {
	g := m.groups[req.Group]
	switch {
	case g == nil:
		return nil, protocol.GroupIDNotFound
	case g.state != empty && g.protocolType != consumerProtocol:
		return nil, protocol.NonEmptyGroup
	}
	codes := make([][]protocol.ErrorCode, len(req.Topics))
	for i, rt := range req.Topics {
		codes[i] = make([]protocol.ErrorCode, len(rt.Partitions))
		topic, known := img.Topic(rt.Topic)
		subscribed := g.subscribes(rt.Topic)
		for j, p := range rt.Partitions {
			switch {
			case !known || p.Partition < 0 || int(p.Partition) >= len(topic.Partitions):
				codes[i][j] = protocol.UnknownTopicOrPartition
			case subscribed:
				codes[i][j] = protocol.GroupSubscribedToTopic
			default:
				g.removeOffset(t, topicPartition{rt.Topic, p.Partition})
			}
		}
	}
	return codes, protocol.None
}

func (g *group) removeOffset(t *coordinator.Turn, tp topicPartition) {
	if _, ok := g.offsets[tp]; ok {
		t.Write(offsetKey(g.id, tp), nil)
	}
}

// subscribes reports whether a member consumes the topic. Of one whose metadata
// cannot be read it is assumed.
func (g *group) subscribes(topic string) bool {
	for _, m := range g.members {
		var s kmsg.ConsumerMemberMetadata
		if len(m.protocols) == 0 {
			continue
		}
		if err := s.ReadFrom(m.protocols[0].metadata); err != nil || slices.Contains(s.Topics, topic) {
			return true
		}
	}
	return false
}
