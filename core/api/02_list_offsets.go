package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
)

// listOffsets answers ListOffsets (key 2), v1 to v8.
//
//	timestamp -1  the end that the isolation level may read to
//	          -2  the earliest offset
//	          -3  the offset of the largest timestamp (v7, KIP-734)
//	          -4  the earliest local offset (v8, KIP-405): the same as -2 here
//	       other  the first offset with a timestamp at or after it
func (a *API) listOffsets(_ context.Context, _ *Session, req *kmsg.ListOffsetsRequest) (*kmsg.ListOffsetsResponse, error) {
	img := a.images.Current()
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, t := range req.Topics {
		out := kmsg.NewListOffsetsResponseTopic()
		out.Topic = t.Topic
		topic, ok := img.Topic(t.Topic)
		for _, p := range t.Partitions {
			part := kmsg.NewListOffsetsResponseTopicPartition()
			part.Partition = p.Partition
			part.Offset, part.Timestamp, part.LeaderEpoch = -1, -1, -1
			err := error(protocol.Errorf(protocol.UnknownTopicOrPartition, "no topic %q", t.Topic))
			if ok {
				err = a.listOffset(topic, req, &p, &part)
			}
			part.ErrorCode, _ = a.verdict("list offsets", err)
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (a *API) listOffset(t *metadata.Topic, req *kmsg.ListOffsetsRequest, in *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) error {
	p, err := a.replicas.Partition(t.ID, in.Partition)
	if err != nil {
		return a.notHere(t, in.Partition, err)
	}
	epoch := int32(-1)
	if req.Version >= 4 {
		epoch = in.CurrentLeaderEpoch
	}
	offset, timestamp, leaderEpoch, err := p.ListOffset(in.Timestamp, epoch, replica.Isolation(req.IsolationLevel))
	if err != nil {
		return err
	}
	out.Offset, out.Timestamp, out.LeaderEpoch = offset, timestamp, leaderEpoch
	return nil
}
