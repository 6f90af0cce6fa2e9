package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
)

// listPartitionReassignments answers ListPartitionReassignments (key 46), v0
// (KIP-455), from this broker's image: of the partitions that are asked for, or of
// all, those that are being reassigned.
func (a *API) listPartitionReassignments(_ context.Context, _ *Session, req *kmsg.ListPartitionReassignmentsRequest) (*kmsg.ListPartitionReassignmentsResponse, error) {
	img := a.images.Current()
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	if req.Topics == nil {
		for _, t := range sortedTopics(img) {
			resp.Topics = appendReassignments(resp.Topics, t, nil)
		}
		return resp, nil
	}
	for _, asked := range req.Topics {
		if t, ok := img.Topic(asked.Topic); ok {
			resp.Topics = appendReassignments(resp.Topics, t, asked.Partitions)
		}
	}
	return resp, nil
}

// appendReassignments adds a topic if partitions of it are being reassigned. A nil
// list asks for all.
func appendReassignments(to []kmsg.ListPartitionReassignmentsResponseTopic, t *metadata.Topic, asked []int32) []kmsg.ListPartitionReassignmentsResponseTopic {
	out := kmsg.NewListPartitionReassignmentsResponseTopic()
	out.Topic = t.Name
	for n, p := range t.Partitions {
		if len(p.Adding)+len(p.Removing) == 0 || asked != nil && !slices.Contains(asked, int32(n)) {
			continue
		}
		one := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		one.Partition, one.Replicas, one.AddingReplicas, one.RemovingReplicas = int32(n), p.Replicas, p.Adding, p.Removing
		out.Partitions = append(out.Partitions, one)
	}
	if len(out.Partitions) == 0 {
		return to
	}
	return append(to, out)
}
