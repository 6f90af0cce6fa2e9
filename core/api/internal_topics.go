package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/group"
)

// isInternal reports whether a topic is the broker's own.
func isInternal(topic string) bool { return topic == group.OffsetsTopic }

// newTopic is how a topic is created that a client only mentioned: with the
// broker's defaults, or, if it is an internal one, as that has to be.
func (a *API) newTopic(name string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic = name
	t.NumPartitions, t.ReplicationFactor = -1, -1
	if name == group.OffsetsTopic {
		t.NumPartitions = a.cfg.OffsetsPartitions
		t.ReplicationFactor = a.cfg.OffsetsReplicationFactor
		t.Configs = []kmsg.CreateTopicsRequestTopicConfig{
			{Name: "cleanup.policy", Value: new("compact")},
			{Name: "segment.bytes", Value: new("104857600")},
			{Name: "compression.type", Value: new("producer")},
		}
	}
	return t
}
