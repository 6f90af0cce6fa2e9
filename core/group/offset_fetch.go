package group

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
)

// noOffset is the answer for a partition that nothing was committed for.
const noOffset = -1

// fetch returns a group's offsets: those asked for, or all if topics is nil. A
// group that there is none of has no offsets, which is no error.
func (m *machine) fetch(group string, topics []kmsg.OffsetFetchRequestGroupTopic, img *metadata.Image) []kmsg.OffsetFetchResponseGroupTopic {
	g := m.groups[group]
	if topics == nil {
		topics = g.committedTopics(img)
	}
	out := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(topics))
	for _, rt := range topics {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic = rt.Topic
		for _, p := range rt.Partitions {
			t.Partitions = append(t.Partitions, g.fetchOne(topicPartition{rt.Topic, p}, img))
		}
		out = append(out, t)
	}
	return out
}

// fetchOne returns one offset. What was committed for a topic that has since been
// deleted says nothing about another one of the same name.
func (g *group) fetchOne(tp topicPartition, img *metadata.Image) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = tp.partition, noOffset, -1, new("")
	if g == nil {
		return p
	}
	o, ok := g.offsets[tp]
	if !ok || isOrphan(o, tp.topic, img) {
		return p
	}
	p.Offset, p.LeaderEpoch, p.Metadata = o.offset, o.leaderEpoch, new(o.metadata)
	return p
}

// committedTopics is a request for everything that the group has.
func (g *group) committedTopics(img *metadata.Image) []kmsg.OffsetFetchRequestGroupTopic {
	if g == nil {
		return nil
	}
	var topics []kmsg.OffsetFetchRequestGroupTopic
	for _, tp := range g.sortedOffsets() {
		if isOrphan(g.offsets[tp], tp.topic, img) {
			continue
		}
		if len(topics) == 0 || topics[len(topics)-1].Topic != tp.topic {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic = tp.topic
			topics = append(topics, t)
		}
		last := &topics[len(topics)-1]
		last.Partitions = append(last.Partitions, tp.partition)
	}
	return topics
}

func (g *group) sortedOffsets() []topicPartition {
	return slices.SortedFunc(maps.Keys(g.offsets), func(a, b topicPartition) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
}

// isOrphan reports whether an offset's topic is gone. The image is at least as new
// as the one that the offset was committed under: a coordinator leads by an image
// that is newer than its predecessor's.
func isOrphan(o offset, topic string, img *metadata.Image) bool {
	t, ok := img.Topic(topic)
	return !ok || o.topicID != (metadata.UUID{}) && o.topicID != t.ID
}
