package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// deleteTopics answers DeleteTopics (key 20): one result per topic, in order.
// Version 6 names topics by name or by id (KIP-516).
func (r *round) deleteTopics(req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	wanted := req.Topics
	for _, name := range req.TopicNames {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		wanted = append(wanted, t)
	}
	for _, t := range wanted {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		topic, err := findTopic(r.delta, t.Topic, t.TopicID)
		if err == nil {
			out.Topic, out.TopicID = &topic.Name, topic.ID
			err = r.commit(metadata.RemoveTopicRecord{ID: topic.ID})
		}
		out.ErrorCode, out.ErrorMessage = result(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func findTopic(d *metadata.Delta, name *string, id metadata.UUID) (*metadata.Topic, error) {
	byID := id != metadata.UUID{}
	switch {
	case name != nil && byID:
		return nil, protocol.Errorf(protocol.InvalidRequest, "You may not specify both topic name and topic id.")
	case name != nil:
		if t, ok := d.Topic(*name); ok {
			return t, nil
		}
		return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "This server does not host this topic-partition.")
	case byID:
		if t, ok := d.TopicByID(id); ok {
			return t, nil
		}
		return nil, protocol.Errorf(protocol.UnknownTopicID, "This server does not host this topic ID.")
	default:
		return nil, protocol.Errorf(protocol.InvalidRequest, "Neither topic name nor id were specified.")
	}
}
