package group

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// The versions of the keys in __consumer_offsets say what a record is about.
// Other versions are of other kinds of group; they are left alone.
const (
	offsetKeyVersion    = 1 // 0 is an older form of the same
	groupKeyVersion     = 2
	groupValueVersion   = 3 // the first with instance ids
	offsetValueVersion  = 4 // the first with the topic's id
	expiringOffsetValue = 1 // the only one with a time of expiry, which few clients set
	epochOffsetValue    = 3 // the first with a leader epoch
)

// topicPartition is what an offset is committed for.
type topicPartition struct {
	topic     string
	partition int32
}

// offset is a committed offset.
type offset struct {
	offset      int64
	leaderEpoch int32 // -1 if the client did not say
	metadata    string
	committed   time.Time
	expires     time.Time     // zero if the broker's retention decides
	topicID     metadata.UUID // zero if the record is too old to have one
}

func offsetKey(group string, tp topicPartition) []byte {
	k := kmsg.NewOffsetCommitKey()
	k.Version, k.Group, k.Topic, k.Partition = offsetKeyVersion, group, tp.topic, tp.partition
	return k.AppendTo(nil)
}

func offsetValue(o offset) []byte {
	v := kmsg.NewOffsetCommitValue()
	v.Version = offsetValueVersion
	v.Offset, v.LeaderEpoch, v.Metadata, v.TopicID = o.offset, o.leaderEpoch, o.metadata, o.topicID
	v.CommitTimestamp = o.committed.UnixMilli()
	if !o.expires.IsZero() {
		v.Version, v.ExpireTimestamp = expiringOffsetValue, o.expires.UnixMilli()
	}
	return v.AppendTo(nil)
}

func groupKey(group string) []byte {
	k := kmsg.NewGroupMetadataKey()
	k.Version, k.Group = groupKeyVersion, group
	return k.AppendTo(nil)
}

// record is the group as it is kept in the log, with the assignments given.
func (g *group) record(now time.Time, assignments map[string][]byte) kmsg.GroupMetadataValue {
	v := kmsg.NewGroupMetadataValue()
	v.Version = groupValueVersion
	v.ProtocolType, v.Generation = g.protocolType, g.generation
	v.CurrentStateTimestamp = now.UnixMilli()
	v.Protocol, v.Leader = nullable(g.protocol), nullable(g.leader)
	for _, m := range g.inOrder() {
		rm := kmsg.NewGroupMetadataValueMember()
		rm.MemberID, rm.InstanceID, rm.ClientID, rm.ClientHost = m.id, m.instance, m.clientID, m.clientHost
		rm.RebalanceTimeoutMillis = int32(m.rebalanceTimeout.Milliseconds())
		rm.SessionTimeoutMillis = int32(m.sessionTimeout.Milliseconds())
		rm.Subscription, rm.Assignment = m.metadata(g.protocol), assignments[m.id]
		v.Members = append(v.Members, rm)
	}
	return v
}

func (g *group) assignments() map[string][]byte {
	a := make(map[string][]byte, len(g.members))
	for id, m := range g.members {
		a[id] = m.assignment
	}
	return a
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Replay applies a record of the partition.
func (m *machine) Replay(key, value []byte) error {
	if len(key) < 2 {
		return fmt.Errorf("replay: a key of %d bytes has no version", len(key))
	}
	switch version := int16(binary.BigEndian.Uint16(key)); version {
	case 0, offsetKeyVersion:
		return m.replayOffset(key, value)
	case groupKeyVersion:
		return m.replayGroup(key, value)
	default:
		m.log.Debug("skipped a record of a kind that is not known here", "key_version", version)
		return nil
	}
}

func (m *machine) replayOffset(key, value []byte) error {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("replay offset: key: %w", err)
	}
	tp := topicPartition{topic: k.Topic, partition: k.Partition}
	if value == nil {
		if g := m.groups[k.Group]; g != nil {
			delete(g.offsets, tp)
			m.forgetUnused(g)
		}
		return nil
	}
	v := kmsg.NewOffsetCommitValue()
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("replay offset of group %q: %w", k.Group, err)
	}
	o := offset{
		offset:      v.Offset,
		leaderEpoch: v.LeaderEpoch,
		metadata:    v.Metadata,
		committed:   time.UnixMilli(v.CommitTimestamp),
		topicID:     v.TopicID,
	}
	if v.Version < epochOffsetValue {
		o.leaderEpoch = -1
	}
	if v.Version == expiringOffsetValue && v.ExpireTimestamp >= 0 {
		o.expires = time.UnixMilli(v.ExpireTimestamp)
	}
	m.open(k.Group).offsets[tp] = o
	return nil
}

func (m *machine) replayGroup(key, value []byte) error {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("replay group: key: %w", err)
	}
	if value == nil {
		if g := m.groups[k.Group]; g != nil {
			g.dissolve()
			m.forgetUnused(g)
		}
		return nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("replay group %q: %w", k.Group, err)
	}
	m.restore(m.open(k.Group), &v)
	return nil
}

// dissolve is what a group's tombstone does: the offsets have their own.
func (g *group) dissolve() {
	for _, m := range g.inOrder() {
		g.drop(m, protocol.UnknownMemberID)
	}
	g.recorded, g.generation, g.protocolType, g.protocol = false, 0, "", ""
	g.become(empty)
}

// restore makes the group what its record says. While serving, members that are
// in both keep what only memory knows of them.
func (m *machine) restore(g *group, v *kmsg.GroupMetadataValue) {
	g.recorded = true
	g.protocolType, g.generation, g.protocol = v.ProtocolType, v.Generation, deref(v.Protocol)
	g.since = time.Time{}
	if v.CurrentStateTimestamp >= 0 {
		g.since = time.UnixMilli(v.CurrentStateTimestamp)
	}
	m.restoreMembers(g, v)
	g.leader = deref(v.Leader)
	if len(v.Members) == 0 {
		g.become(empty)
		return
	}
	g.become(stable)
}

func (m *machine) restoreMembers(g *group, v *kmsg.GroupMetadataValue) {
	recorded := make(map[string]bool, len(v.Members))
	for i := range v.Members {
		recorded[v.Members[i].MemberID] = true
	}
	for _, old := range g.inOrder() {
		if recorded[old.id] {
			continue
		}
		code := protocol.UnknownMemberID
		if old.instance != nil { // another took its place
			code = protocol.FencedInstanceID
		}
		g.drop(old, code)
	}
	for i := range v.Members {
		rm := &v.Members[i]
		mem := g.members[rm.MemberID]
		if mem == nil {
			mem = memberOf(rm, g.protocol)
			g.add(mem)
		}
		mem.assignment = slices.Clone(rm.Assignment)
	}
}

func memberOf(rm *kmsg.GroupMetadataValueMember, chosen string) *member {
	m := &member{
		id:               rm.MemberID,
		instance:         rm.InstanceID,
		clientID:         rm.ClientID,
		clientHost:       rm.ClientHost,
		rebalanceTimeout: time.Duration(rm.RebalanceTimeoutMillis) * time.Millisecond,
		sessionTimeout:   time.Duration(rm.SessionTimeoutMillis) * time.Millisecond,
		protocols:        []protocolMetadata{{name: chosen, metadata: slices.Clone(rm.Subscription)}},
	}
	if rm.RebalanceTimeoutMillis < 0 { // a record of version 0
		m.rebalanceTimeout = m.sessionTimeout
	}
	return m
}
