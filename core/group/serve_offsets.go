package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// OffsetCommit answers OffsetCommit (key 8), v2 to v9. It waits until the offsets
// are committed on the in-sync replicas.
//
//	v5  no retention of its own any more
//	v6  leader epochs (KIP-320)
func (c *Coordinator) OffsetCommit(ctx context.Context, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	img := c.images.Current()
	resp, err := on(ctx, c, req.Group, func(m *machine, t *coordinator.Turn, r coordinator.Reply[*kmsg.OffsetCommitResponse]) {
		m.commit(t, req, img, r)
	})
	if err != nil {
		return commitResponse(req, func(int, int) protocol.ErrorCode { return c.codeOf(err) })
	}
	return resp
}

// OffsetFetch answers OffsetFetch (key 9), v1 to v9.
//
//	v2  null topics ask for all of them
//	v7  require_stable changes nothing as long as there are no transactions
//	v8  several groups at once (KIP-709)
//	v9  members' epochs, which groups of this protocol do not have
func (c *Coordinator) OffsetFetch(ctx context.Context, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Version = req.Version
	if req.Version < fetchManyGroups {
		c.fetchOneGroup(ctx, req, resp)
		return resp
	}
	for _, rg := range req.Groups {
		g := kmsg.NewOffsetFetchResponseGroup()
		topics, code := c.fetch(ctx, rg.Group, rg.Topics)
		g.Group, g.Topics, g.ErrorCode = rg.Group, topics, int16(code)
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

func (c *Coordinator) fetch(ctx context.Context, group string, topics []kmsg.OffsetFetchRequestGroupTopic) ([]kmsg.OffsetFetchResponseGroupTopic, protocol.ErrorCode) {
	img := c.images.Current()
	found, err := on(ctx, c, group, func(m *machine, t *coordinator.Turn, r coordinator.Reply[[]kmsg.OffsetFetchResponseGroupTopic]) {
		r.SendCommitted(t, m.fetch(group, topics, img))
	})
	if err == nil {
		return found, protocol.None
	}
	code := c.codeOf(err)
	if code == protocol.CoordinatorNotAvailable {
		// Consumers take this for final here, and a lost coordinator for what it is.
		code = protocol.NotCoordinator
	}
	return nil, code
}

// fetchOneGroup is OffsetFetch up to v7.
func (c *Coordinator) fetchOneGroup(ctx context.Context, req *kmsg.OffsetFetchRequest, resp *kmsg.OffsetFetchResponse) {
	found, code := c.fetch(ctx, req.Group, newerTopics(req.Topics))
	resp.ErrorCode = int16(code)
	if code != protocol.None && req.Version < 2 { // there is room for errors in the partitions only
		found = failedTopics(newerTopics(req.Topics), code)
	}
	for _, ft := range found {
		t := kmsg.NewOffsetFetchResponseTopic()
		t.Topic = ft.Topic
		for _, fp := range ft.Partitions {
			p := kmsg.NewOffsetFetchResponseTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = fp.Partition, fp.Offset, fp.LeaderEpoch, fp.Metadata, fp.ErrorCode
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
}

// newerTopics brings the topics of older requests into the form of v8.
func newerTopics(old []kmsg.OffsetFetchRequestTopic) []kmsg.OffsetFetchRequestGroupTopic {
	if old == nil {
		return nil
	}
	topics := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(old))
	for _, rt := range old {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = rt.Topic, rt.Partitions
		topics = append(topics, t)
	}
	return topics
}

func failedTopics(topics []kmsg.OffsetFetchRequestGroupTopic, code protocol.ErrorCode) []kmsg.OffsetFetchResponseGroupTopic {
	out := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(topics))
	for _, rt := range topics {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic = rt.Topic
		for _, partition := range rt.Partitions {
			p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.ErrorCode = partition, noOffset, -1, int16(code)
			t.Partitions = append(t.Partitions, p)
		}
		out = append(out, t)
	}
	return out
}

// OffsetDelete answers OffsetDelete (key 47), v0 (KIP-496).
func (c *Coordinator) OffsetDelete(ctx context.Context, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	img := c.images.Current()
	resp, err := on(ctx, c, req.Group, func(m *machine, t *coordinator.Turn, r coordinator.Reply[*kmsg.OffsetDeleteResponse]) {
		codes, code := m.removeOffsets(t, req, img)
		r.SendCommitted(t, offsetDeleteResponse(req, codes, code))
	})
	if err != nil {
		return offsetDeleteResponse(req, nil, c.codeOf(err))
	}
	return resp
}

func offsetDeleteResponse(req *kmsg.OffsetDeleteRequest, codes [][]protocol.ErrorCode, code protocol.ErrorCode) *kmsg.OffsetDeleteResponse {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Version, resp.ErrorCode = req.Version, int16(code)
	for i := range codes {
		t := kmsg.NewOffsetDeleteResponseTopic()
		t.Topic = req.Topics[i].Topic
		for j, rp := range req.Topics[i].Partitions {
			p := kmsg.NewOffsetDeleteResponseTopicPartition()
			p.Partition, p.ErrorCode = rp.Partition, int16(codes[i][j])
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
