package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// isolate cuts a broker off from the others in both directions, or joins it.
func (c *cluster) isolate(id int32, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.nodes {
		c.cut[[2]int32{id, other}], c.cut[[2]int32{other, id}] = cut, cut
	}
}

func (c *cluster) reachable(from, to *node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !from.dead.Load() && !to.dead.Load() && !c.cut[[2]int32{from.id, to.id}]
}

var errCut = errors.New("no route to broker")

// peersOf is the Peers of one node.
type peersOf struct{ *node }

// The records of an answer lie in the buffer that it came with, which is overwritten
// by the next one, as with real connections.
func (p peersOf) Fetch(ctx context.Context, broker int32, _ string, fetch *kmsg.FetchRequest, buffer []byte) (*kmsg.FetchResponse, []byte, error) {
	to := p.c.nodes[broker]
	if !p.c.reachable(p.node, to) {
		return nil, nil, errCut
	}
	p.c.fetching.Add(1)
	defer p.c.fetching.Add(-1)
	session, whole := p.sessionOf(to, fetch)
	if session == nil {
		resp := kmsg.NewPtrFetchResponse()
		resp.ErrorCode = int16(protocol.FetchSessionIDNotFound)
		return resp, buffer, nil
	}
	session.update(fetch)
	resp := serveFetch(ctx, to.manager(), session.whole(fetch))
	if ctx.Err() != nil || !p.c.reachable(p.node, to) {
		return nil, nil, errCut
	}
	session.answered(resp, whole)
	return resp, moveRecords(resp, buffer), nil
}

// moveRecords puts the records of an answer into a buffer.
func moveRecords(resp *kmsg.FetchResponse, buffer []byte) []byte {
	for i := range buffer[:cap(buffer)] {
		buffer[:cap(buffer)][i] = 0xdd // whoever still reads it sees nonsense
	}
	size := 0
	for _, t := range resp.Topics {
		for _, part := range t.Partitions {
			size += len(part.RecordBatches)
		}
	}
	buffer = slices.Grow(buffer[:0], size)
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			part := &resp.Topics[i].Partitions[j]
			start := len(buffer)
			buffer = append(buffer, part.RecordBatches...)
			part.RecordBatches = buffer[start:len(buffer):len(buffer)]
		}
	}
	return buffer
}

// serveFetch is what the API does with a follower's fetch.
func serveFetch(ctx context.Context, m *Manager, req *kmsg.FetchRequest) *kmsg.FetchResponse {
	plan := FetchPlan{
		MinBytes: int(req.MinBytes), MaxBytes: int(req.MaxBytes), Replica: true,
		MaxWait: time.Duration(req.MaxWaitMillis) * time.Millisecond,
	}
	resp := kmsg.NewPtrFetchResponse()
	for _, t := range req.Topics {
		out := kmsg.NewFetchResponseTopic()
		out.TopicID = t.TopicID
		for _, p := range t.Partitions {
			durable, known := followerTag(&p)
			plan.Parts = append(plan.Parts, FetchPart{t.TopicID, p.Partition, ReadRequest{
				Offset: p.FetchOffset, MaxBytes: int(p.PartitionMaxBytes),
				CurrentLeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
				Replica: &Follower{ID: req.ReplicaState.ID, Epoch: req.ReplicaState.Epoch}, DurableEnd: durable, KnownMark: known, LogStart: p.LogStartOffset,
			}})
			part := kmsg.NewFetchResponseTopicPartition()
			part.Partition = p.Partition
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	results := m.Fetch(ctx, plan)
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			r, part := results[0], &resp.Topics[i].Partitions[j]
			results = results[1:]
			part.ErrorCode = int16(protocol.CodeOf(r.Err))
			var err error
			if part.RecordBatches, err = readAll(r.Records); err != nil {
				part.ErrorCode = int16(protocol.NotLeaderOrFollower) // truncated or stopped since; the API ends the connection
			}
			part.HighWatermark, part.LogStartOffset = r.HighWatermark, r.LogStart
			if r.Diverging != nil {
				part.DivergingEpoch.Epoch, part.DivergingEpoch.EndOffset = r.Diverging.Epoch, r.Diverging.EndOffset
			}
		}
	}
	return resp
}

// followerTag is what a follower says to have on stable storage, and to know.
func followerTag(p *kmsg.FetchRequestTopicPartition) (durable, known int64) {
	durable, known = -1, -1
	p.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == protocol.FollowerTag {
			durable, known = int64(binary.BigEndian.Uint64(value)), int64(binary.BigEndian.Uint64(value[8:]))
		}
	})
	return durable, known
}

// isrOf is the ISRChanger of one node: the controller's side of AlterPartition.
type isrOf struct{ *node }

func (i isrOf) Do(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	alter, ok := req.(*kmsg.AlterPartitionRequest)
	if !ok {
		return nil, fmt.Errorf("unexpected request %T", req)
	}
	if i.dead.Load() || !i.c.reachable(i.node, i.node) {
		return nil, errCut
	}
	i.c.publishing.Lock()
	defer i.c.publishing.Unlock()
	resp := kmsg.NewPtrAlterPartitionResponse()
	for _, t := range alter.Topics {
		out := kmsg.NewAlterPartitionResponseTopic()
		out.TopidID = t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewAlterPartitionResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, int16(i.c.alter(i.id, t.TopicID, p))
			out.Partitions = append(out.Partitions, part)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// alter checks a change of the ISR as the controller does, and commits it.
func (c *cluster) alter(from int32, topic metadata.UUID, req kmsg.AlterPartitionRequestTopicPartition) protocol.ErrorCode {
	img := c.image.Load()
	p := img.Partition(topic, req.Partition)
	switch {
	case p == nil:
		return protocol.UnknownTopicID
	case p.Leader != from || p.LeaderEpoch != req.LeaderEpoch:
		return protocol.FencedLeaderEpoch
	case p.PartitionEpoch != req.PartitionEpoch:
		return protocol.InvalidUpdateVersion
	}
	var isr []int32
	for _, member := range req.NewEpochISR {
		b, ok := img.Broker(member.BrokerID)
		if !ok || b.Fenced || member.BrokerEpoch >= 0 && member.BrokerEpoch != b.Epoch {
			return protocol.IneligibleReplica
		}
		isr = append(isr, member.BrokerID)
	}
	c.commitLocked(metadata.PartitionChangeRecord{TopicID: topic, Partition: req.Partition, ISR: isr})
	return protocol.None
}
