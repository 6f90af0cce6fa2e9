package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// commit writes offsets and answers when they are committed: one code for every
// partition. img is what topics are looked up in.
func (m *machine) commit(t *coordinator.Turn, req *kmsg.OffsetCommitRequest, img *metadata.Image, r coordinator.Reply[*kmsg.OffsetCommitResponse]) {
	g, code := m.checkCommit(t, req)
	if code != protocol.None {
		r.Send(commitResponse(req, func(int, int) protocol.ErrorCode { return code }))
		return
	}
	codes := make([][]protocol.ErrorCode, len(req.Topics))
	for i := range req.Topics {
		codes[i] = m.commitTopic(t, g, req, &req.Topics[i], img)
	}
	t.OnCommitted(func(err error) {
		r.Send(commitResponse(req, func(topic, partition int) protocol.ErrorCode {
			if own := codes[topic][partition]; own != protocol.None || err == nil {
				return own
			}
			return commitCode(err)
		}))
	})
	m.forgetUnused(g) // if nothing was written; the record makes it again
}

// checkCommit says whether the sender may commit for the group. Without a group
// or in an empty one a consumer may that assigns its partitions itself.
func (m *machine) checkCommit(t *coordinator.Turn, req *kmsg.OffsetCommitRequest) (*group, protocol.ErrorCode) {
	anonymous := req.Generation < 0 && req.MemberID == "" && req.InstanceID == nil
	g := m.groups[req.Group]
	switch {
	case g == nil && req.Generation >= 0:
		return nil, protocol.IllegalGeneration
	case g == nil:
		return m.found(req.Group)
	case req.Generation < 0 && g.state == empty:
		return g, protocol.None
	case anonymous:
		return nil, protocol.UnknownMemberID
	}
	mem, code := g.check(req.MemberID, req.InstanceID)
	switch {
	case code != protocol.None:
		return nil, code
	case req.Generation != g.generation:
		return nil, protocol.IllegalGeneration
	case g.state == completing: // it has the new generation, and not yet its assignment
		return nil, protocol.RebalanceInProgress
	}
	m.touch(t.Now, g, mem)
	return g, protocol.None
}

func (m *machine) commitTopic(t *coordinator.Turn, g *group, req *kmsg.OffsetCommitRequest, rt *kmsg.OffsetCommitRequestTopic, img *metadata.Image) []protocol.ErrorCode {
	codes := make([]protocol.ErrorCode, len(rt.Partitions))
	topic, ok := img.Topic(rt.Topic)
	for i, p := range rt.Partitions {
		switch {
		case !ok || p.Partition < 0 || int(p.Partition) >= len(topic.Partitions):
			codes[i] = protocol.UnknownTopicOrPartition
		case len(deref(p.Metadata)) > m.cfg.MaxOffsetMetadataBytes:
			codes[i] = protocol.OffsetMetadataTooLarge
		default:
			o := offset{
				offset:      p.Offset,
				leaderEpoch: p.LeaderEpoch,
				metadata:    deref(p.Metadata),
				committed:   t.Now,
				expires:     expiry(t.Now, req),
				topicID:     topic.ID,
			}
			t.Write(offsetKey(g.id, topicPartition{rt.Topic, p.Partition}), offsetValue(o))
		}
	}
	return codes
}

// expiry is when the offsets of a request may go, if it says so: v2 to v4 can.
func expiry(now time.Time, req *kmsg.OffsetCommitRequest) time.Time {
	if req.Version >= commitHasNoRetention || req.RetentionTimeMillis < 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(req.RetentionTimeMillis) * time.Millisecond)
}

// commitCode is what a client is told of a commit that may not be in the log.
func commitCode(err error) protocol.ErrorCode {
	switch code := protocol.CodeOf(err); code {
	case protocol.MessageTooLarge, protocol.RecordListTooLarge:
		return protocol.InvalidCommitOffsetSize
	default:
		return code
	}
}

// commitResponse answers every partition of the request, in its order.
func commitResponse(req *kmsg.OffsetCommitRequest, code func(topic, partition int) protocol.ErrorCode) *kmsg.OffsetCommitResponse {
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = req.Version
	for i, rt := range req.Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic = rt.Topic
		for j, rp := range rt.Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = rp.Partition, int16(code(i, j))
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
