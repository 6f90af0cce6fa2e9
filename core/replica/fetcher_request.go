package replica

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// fetchVersion is the version of Fetch between brokers: with topic ids, with the
// follower's registration (KIP-903) and with DivergingEpoch.
const fetchVersion = 17

// request builds a fetch from positions. Each one that names all begins with another
// partition, so that a leader that fills its answer with the first ones starves none;
// within a session the leader sees to that.
func (f *fetcher) request(positions map[*Partition]position, now time.Time) *kmsg.FetchRequest {
	req := f.newRequest()
	// A partition that pauses must not have to wait for the others' long poll.
	req.MaxWaitMillis = int32(f.nextTry(now, f.m.cfg.FetchMaxWait).Milliseconds())
	req.MinBytes, req.MaxBytes = int32(f.m.cfg.FetchMinBytes), int32(f.m.cfg.FetchMaxBytes)
	f.turns++
	f.session.fill(req, positions, f.turns, int32(f.m.cfg.FetchPartitionMaxBytes))
	return req
}

func (f *fetcher) newRequest() *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = fetchVersion
	req.ReplicaState.ID, req.ReplicaState.Epoch = f.m.cfg.BrokerID, f.m.brokerEpoch()
	return req
}

// addParts says of each partition where it is.
func addParts(req *kmsg.FetchRequest, parts []*Partition, positions map[*Partition]position, maxBytes int32) {
	for _, p := range parts {
		last := len(req.Topics) - 1
		if last < 0 || req.Topics[last].TopicID != p.key.topic {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = p.topic, p.key.topic
			req.Topics = append(req.Topics, t)
			last++
		}
		pos := positions[p]
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition = p.key.partition
		part.CurrentLeaderEpoch = pos.epoch
		part.FetchOffset, part.LastFetchedEpoch = pos.offset, pos.lastEpoch
		part.LogStartOffset = pos.start
		part.PartitionMaxBytes = maxBytes
		part.UnknownTags.Set(protocol.FollowerTag, pos.tag())
		req.Topics[last].Partitions = append(req.Topics[last].Partitions, part)
	}
}

// tag is what brokers of Quorate say to each other beside Kafka's fields.
func (pos position) tag() []byte {
	b := make([]byte, 0, 16)
	b = binary.BigEndian.AppendUint64(b, uint64(pos.durable))
	return binary.BigEndian.AppendUint64(b, uint64(pos.known))
}

// sorted returns the partitions in their order, beginning with the turn-th.
func sorted(positions map[*Partition]position, turn int) []*Partition {
	parts := make([]*Partition, 0, len(positions))
	for p := range positions {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b *Partition) int {
		return cmp.Or(slices.Compare(a.key.topic[:], b.key.topic[:]), cmp.Compare(a.key.partition, b.key.partition))
	})
	by := turn % len(parts)
	return append(parts[by:len(parts):len(parts)], parts[:by]...)
}

// apply hands every partition its part of the answer. Parts that were not asked
// for are ignored; partitions without an answer are asked for again.
func (f *fetcher) apply(positions map[*Partition]position, resp *kmsg.FetchResponse) {
	var lag int64
	f.eachAnswer(positions, resp, func(p *Partition, part *kmsg.FetchResponseTopicPartition) {
		f.settle(p, positions[p], p.follow(positions[p], part))
		lag = max(lag, part.HighWatermark-p.wal.End())
	})
	f.m.metrics.setFetchLag(f.leader, lag)
}

// settle lets a partition go on, or pause after an error. What the image will
// mend is no news; the rest is, once per pause that is longer than the last.
func (f *fetcher) settle(p *Partition, pos position, err error) {
	if err == nil {
		delete(f.pauses, p)
		return
	}
	tries := f.pauses[p].tries + 1
	f.pauses[p] = pause{until: time.Now().Add(f.m.backoff(tries)), tries: tries, epoch: pos.epoch}
	switch protocol.CodeOf(err) {
	case protocol.NotLeaderOrFollower, protocol.FencedLeaderEpoch, protocol.UnknownLeaderEpoch,
		protocol.UnknownTopicID, protocol.UnknownTopicOrPartition:
		p.log.Debug("leader does not serve the partition", "leader", f.leader, "error", err)
	default:
		if tries&(tries-1) == 0 { // 1, 2, 4, 8: a pause without end must not fill the log
			p.log.Error("cannot follow leader", "leader", f.leader, "attempts", tries, "error", err)
		}
	}
}
