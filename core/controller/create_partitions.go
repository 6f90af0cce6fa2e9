package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// hashedTopics are those whose partition is a hash of a key that the broker
// computes: with another count, what was stored would not be found.
var hashedTopics = []string{"__consumer_offsets", "__transaction_state"}

// createPartitions answers CreatePartitions (key 37): one result per topic, in order.
func (r *round) createPartitions(req *kmsg.CreatePartitionsRequest) *kmsg.CreatePartitionsResponse {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	count := map[string]int{}
	for _, t := range req.Topics {
		count[t.Topic]++
	}
	for _, t := range req.Topics {
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = t.Topic
		err := error(protocol.Errorf(protocol.InvalidRequest, "Duplicate topic name."))
		if count[t.Topic] == 1 {
			err = r.addPartitions(t, req.ValidateOnly)
		}
		out.ErrorCode, out.ErrorMessage = result(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (r *round) addPartitions(wish kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	topic, ok := r.delta.Topic(wish.Topic)
	if !ok {
		return protocol.Errorf(protocol.UnknownTopicOrPartition, "This server does not host this topic-partition.")
	}
	records, err := r.addedPartitions(topic, wish)
	if err != nil || validateOnly {
		return err
	}
	return r.commit(records...)
}

func (r *round) addedPartitions(topic *metadata.Topic, wish kmsg.CreatePartitionsRequestTopic) ([]metadata.Record, error) {
	have, want := len(topic.Partitions), int(wish.Count)
	switch {
	case slices.Contains(hashedTopics, topic.Name):
		return nil, protocol.Errorf(protocol.InvalidRequest, "The number of partitions of %s is fixed.", topic.Name)
	case want < have:
		return nil, protocol.Errorf(protocol.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", topic.Name, have, want)
	case want == have:
		return nil, protocol.Errorf(protocol.InvalidPartitions, "Topic already has %d partition(s).", have)
	case want-have > r.cfg.MaxPartitionsPerRequest:
		return nil, protocol.Errorf(protocol.InvalidPartitions, "At most %d partitions can be created at once.", r.cfg.MaxPartitionsPerRequest)
	}
	factor := len(without(topic.Partitions[0].Replicas, topic.Partitions[0].Adding))
	if wish.Assignment == nil {
		return r.placedPartitions(topic.ID, have, want, factor)
	}
	if len(wish.Assignment) != want-have {
		return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", want-have, len(wish.Assignment))
	}
	var records []metadata.Record
	for n, a := range wish.Assignment {
		rec, err := r.assignedPartition(topic.ID, have+n, a.Replicas, factor)
		if err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	return records, nil
}
