package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// offsetForLeaderEpoch answers OffsetForLeaderEpoch (key 23, KIP-320), v2 to v4:
// the end offset of the largest epoch that is not above the one asked for.
func (a *API) offsetForLeaderEpoch(_ context.Context, _ *Session, req *kmsg.OffsetForLeaderEpochRequest) (*kmsg.OffsetForLeaderEpochResponse, error) {
	img := a.images.Current()
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	for _, t := range req.Topics {
		out := kmsg.NewOffsetForLeaderEpochResponseTopic()
		out.Topic = t.Topic
		topic, ok := img.Topic(t.Topic)
		for _, p := range t.Partitions {
			part := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			part.Partition = p.Partition
			part.LeaderEpoch, part.EndOffset = -1, -1
			err := error(protocol.Errorf(protocol.UnknownTopicOrPartition, "no topic %q", t.Topic))
			if ok {
				err = a.epochEnd(topic, &p, &part)
			}
			part.ErrorCode, _ = a.verdict("offset for leader epoch", err)
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (a *API) epochEnd(t *metadata.Topic, in *kmsg.OffsetForLeaderEpochRequestTopicPartition, out *kmsg.OffsetForLeaderEpochResponseTopicPartition) error {
	p, err := a.replicas.Partition(t.ID, in.Partition)
	if err != nil {
		return a.notHere(t, in.Partition, err)
	}
	epoch, end, err := p.EpochEnd(in.CurrentLeaderEpoch, in.LeaderEpoch)
	if err != nil {
		return err
	}
	out.LeaderEpoch, out.EndOffset = epoch, end
	return nil
}
