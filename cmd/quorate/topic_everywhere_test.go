package main

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestShown(t *testing.T) {
	mine, other := kadm.TopicID{1}, kadm.TopicID{2}
	unknown := kerr.UnknownTopicOrPartition.Code
	topic := func(name string, id kadm.TopicID, code int16) kmsg.MetadataResponseTopic {
		out := kmsg.NewMetadataResponseTopic()
		out.Topic, out.TopicID, out.ErrorCode = &name, id, code
		return out
	}
	asked := topicIDs{"a": mine, "b": mine}
	for _, tt := range []struct {
		name          string
		topics        []kmsg.MetadataResponseTopic
		created, gone bool
	}{
		{"all there", []kmsg.MetadataResponseTopic{topic("a", mine, 0), topic("b", mine, 0)}, true, false},
		{"one there", []kmsg.MetadataResponseTopic{topic("a", mine, 0), topic("b", kadm.TopicID{}, unknown)}, false, false},
		{"none there", []kmsg.MetadataResponseTopic{topic("a", kadm.TopicID{}, unknown), topic("b", kadm.TopicID{}, unknown)}, false, true},
		{"made again", []kmsg.MetadataResponseTopic{topic("a", other, 0), topic("b", other, 0)}, false, true},
	} {
		resp := kmsg.NewPtrMetadataResponse()
		resp.Topics = tt.topics
		if got := shown(resp, asked, true); got != tt.created {
			t.Errorf("%s: created is shown: %v", tt.name, got)
		}
		if got := shown(resp, asked, false); got != tt.gone {
			t.Errorf("%s: deleted is shown: %v", tt.name, got)
		}
	}
}
