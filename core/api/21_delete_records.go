package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
)

// deletion is a partition whose records are deleted, and whose followers may not have
// done it yet.
type deletion struct {
	out    *kmsg.DeleteRecordsResponseTopicPartition
	p      *replica.Partition
	before int64 // offset
}

// deleteRecords answers DeleteRecords (key 21), v0 to v2, as the partitions' leader:
// records before an offset are gone, -1 for all that are committed.
//
// The answer waits until every replica on a live broker has its start there, within the
// request's timeout; then LowWatermark is where the last of them starts.
func (a *API) deleteRecords(ctx context.Context, _ *Session, req *kmsg.DeleteRecordsRequest) (*kmsg.DeleteRecordsResponse, error) {
	timeout := a.cfg.RequestTimeout
	if req.TimeoutMillis > 0 {
		timeout = time.Duration(req.TimeoutMillis) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	img := a.images.Current()
	resp := kmsg.NewPtrDeleteRecordsResponse()
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	var waits []deletion
	for i, t := range req.Topics {
		out := &resp.Topics[i]
		out.Topic = t.Topic
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))
		for j, in := range t.Partitions {
			part := &out.Partitions[j]
			part.Partition, part.LowWatermark = in.Partition, -1
			p, before, err := a.deleteBefore(img, t.Topic, in.Partition, in.Offset)
			if err != nil {
				part.ErrorCode, _ = a.verdict("delete records", err)
				continue
			}
			waits = append(waits, deletion{part, p, before})
		}
	}
	for _, w := range waits {
		low, err := w.p.AwaitLowWatermark(ctx, w.before)
		w.out.ErrorCode, _ = a.verdict("delete records", err)
		w.out.LowWatermark = low
	}
	return resp, nil
}

// deleteBefore deletes the records of a partition on this broker.
func (a *API) deleteBefore(img *metadata.Image, name string, partition int32, offset int64) (*replica.Partition, int64, error) {
	topic, ok := img.Topic(name)
	switch {
	case isInternal(name):
		return nil, -1, protocol.Errorf(protocol.InvalidTopicException, "%s is the broker's own topic; its records are not deleted", name)
	case !ok:
		return nil, -1, protocol.Errorf(protocol.UnknownTopicOrPartition, "no topic %q", name)
	}
	p, err := a.replicas.Partition(topic.ID, partition)
	if err != nil {
		return nil, -1, a.notHere(topic, partition, err)
	}
	before, err := p.DeleteRecords(offset)
	return p, before, err
}
