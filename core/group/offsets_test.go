package group

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

func tp(topic string, partition int32) topicPartition { return topicPartition{topic, partition} }

func TestOffsetsRoundTrip(t *testing.T) {
	for version := int16(1); version <= 9; version++ {
		scenario(t, nil, func(t *testing.T, b *broker) {
			c := b.consumer()
			want(t, "commit", c.commit("orders", 1, 41), protocol.None)
			want(t, "commit", c.commit("orders", 1, 42), protocol.None)
			b.failover()
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Version, req.Group, req.RequireStable = version, "g", true
			req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "orders", Partitions: []int32{0, 1}}}
			rg := kmsg.NewOffsetFetchRequestGroup()
			rg.Group, rg.Topics = "g", newerTopics(req.Topics)
			req.Groups = []kmsg.OffsetFetchRequestGroup{rg}
			resp := b.OffsetFetch(t.Context(), req)
			topics := resp.Topics
			if version >= 8 {
				for _, rt := range resp.Groups[0].Topics {
					topics = append(topics, olderTopic(rt))
				}
			}
			none, some := topics[0].Partitions[0], topics[0].Partitions[1]
			if none.Offset != -1 || none.LeaderEpoch != -1 || *none.Metadata != "" || none.ErrorCode != 0 {
				t.Errorf("v%d: %+v, want no offset and no error", version, none)
			}
			if some.Offset != 42 || some.LeaderEpoch != 7 || *some.Metadata != "note" || some.ErrorCode != 0 {
				t.Errorf("v%d: %+v, want what was committed", version, some)
			}
			if _, err := kmsgRoundTrip(resp); err != nil {
				t.Errorf("v%d: %v", version, err)
			}
		})
	}
}

func olderTopic(t kmsg.OffsetFetchResponseGroupTopic) kmsg.OffsetFetchResponseTopic {
	out := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
	for _, p := range t.Partitions {
		out.Partitions = append(out.Partitions, kmsg.OffsetFetchResponseTopicPartition(p))
	}
	return out
}

// kmsgRoundTrip encodes a response in its version and decodes it again.
func kmsgRoundTrip(resp kmsg.Response) (kmsg.Response, error) {
	fresh := resp.RequestKind().ResponseKind()
	fresh.SetVersion(resp.GetVersion())
	return fresh, fresh.ReadFrom(resp.AppendTo(nil))
}

func TestCommitIsJudgedByPartition(t *testing.T) {
	long := strings.Repeat("x", DefaultConfig().MaxOffsetMetadataBytes+1)
	tests := []struct {
		topic     string
		partition int32
		metadata  string
		want      protocol.ErrorCode
	}{
		{"orders", 2, "", protocol.None},
		{"orders", 3, "", protocol.UnknownTopicOrPartition},
		{"orders", -1, "", protocol.UnknownTopicOrPartition},
		{"nothing", 0, "", protocol.UnknownTopicOrPartition},
		{"clicks", 0, long, protocol.OffsetMetadataTooLarge},
		{"clicks", 1, long[1:], protocol.None},
	}
	scenario(t, nil, func(t *testing.T, b *broker) {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group = 8, "g"
		for _, tt := range tests {
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.Metadata = tt.partition, 1, &tt.metadata
			req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: tt.topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{rp}})
		}
		resp := b.OffsetCommit(t.Context(), req)
		for i, tt := range tests {
			rt := resp.Topics[i]
			if rt.Topic != tt.topic || rt.Partitions[0].Partition != tt.partition {
				t.Errorf("answer %d is for %s-%d, want %s-%d", i, rt.Topic, rt.Partitions[0].Partition, tt.topic, tt.partition)
			}
			want(t, tt.topic, protocol.ErrorCode(rt.Partitions[0].ErrorCode), tt.want)
		}
		b.wantOffsets("g", map[topicPartition]int64{tp("orders", 2): 1, tp("clicks", 1): 1})
	})
}

func TestACommitThatFails(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		wrote bool
		want  protocol.ErrorCode
		then  map[topicPartition]int64
	}{
		{"refused", protocol.Errorf(protocol.NotEnoughReplicas, "one of two"), false, protocol.CoordinatorNotAvailable, map[topicPartition]int64{}},
		{"too large", protocol.Errorf(protocol.MessageTooLarge, "too large"), false, protocol.InvalidCommitOffsetSize, map[topicPartition]int64{}},
		{"uncertain and lost", errors.New("input/output error"), false, protocol.CoordinatorNotAvailable, map[topicPartition]int64{}},
		{"uncertain and written", errors.New("input/output error"), true, protocol.CoordinatorNotAvailable, map[topicPartition]int64{tp("orders", 0): 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, nil, func(t *testing.T, b *broker) {
				b.log.FailAppend(tt.err, tt.wrote)
				want(t, "commit", b.consumer().commit("orders", 0, 1), tt.want)
				time.Sleep(2 * DefaultConfig().Shard.LoadBackoff)
				b.wantOffsets("g", tt.then)
			})
		})
	}
}

// While a commit is not replicated nobody may see it, and nobody is told that
// there is none: a consumer would begin from the start.
func TestFetchSeesWhatIsCommitted(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		want(t, "commit", b.consumer().commit("orders", 0, 1), protocol.None)
		b.log.Hold()
		committing := begin(func() protocol.ErrorCode { return b.consumer().commit("orders", 0, 2) })
		waits(t, "commit", committing)
		_, code := b.offsets("g")
		want(t, "fetch", code, protocol.NotCoordinator)
		b.topic.Depose(0)
		synctest.Wait()
		_, code = b.offsets("g")
		want(t, "fetch elsewhere", code, protocol.NotCoordinator)
		b.topic.Lead(0)
		synctest.Wait()
		_, code = b.offsets("g")
		want(t, "fetch while loading", code, protocol.CoordinatorLoadInProgress)
		want(t, "heartbeat while loading", (&consumer{b: b, group: "g", id: "m"}).heartbeat(), protocol.None)
		b.log.Release()
		synctest.Wait()
		b.wantOffsets("g", map[topicPartition]int64{tp("orders", 0): 2})
	})
}

func TestWithoutTheTopic(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		b.images.apply(t, metadata.RemoveTopicRecord{ID: metadata.UUID{9}})
		want(t, "commit", b.consumer().commit("orders", 0, 1), protocol.CoordinatorNotAvailable)
		want(t, "join", b.consumer().join(), protocol.CoordinatorNotAvailable)
		if got := b.PartitionFor("g"); got != -1 {
			t.Errorf("partition %d, want -1", got)
		}
	})
}

func TestOffsetsOfDeletedTopics(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		c := b.consumer()
		join(t, c)
		want(t, "commit", c.commit("orders", 0, 1), protocol.None)
		want(t, "commit", c.commit("clicks", 0, 2), protocol.None)
		old := b.images.apply(t, append([]metadata.Record{metadata.RemoveTopicRecord{ID: metadata.UUID{1}}}, topicRecords(3, "orders", 3)...)...)
		b.wantOffsets("g", map[topicPartition]int64{tp("clicks", 0): 2})
		if left := peek(t, b, func(m *machine) int { return len(m.groups["g"].offsets) }); left != 2 {
			t.Errorf("%d offsets before the sweep, want 2", left)
		}
		b.OnImage(old, b.images.Current())
		synctest.Wait()
		if left := peek(t, b, func(m *machine) int { return len(m.groups["g"].offsets) }); left != 1 {
			t.Errorf("%d offsets after the sweep, want 1", left)
		}
		want(t, "commit to the new topic", c.commit("orders", 0, 3), protocol.None)
		b.failover()
		b.wantOffsets("g", map[topicPartition]int64{tp("clicks", 0): 2, tp("orders", 0): 3})
	})
}

func TestExpiry(t *testing.T) {
	retention := DefaultConfig().OffsetsRetention
	tests := []struct {
		name string
		run  func(t *testing.T, b *broker)
		left map[topicPartition]int64
	}{{
		name: "long after the commit",
		run: func(t *testing.T, b *broker) {
			want(t, "commit", b.consumer().commit("orders", 0, 1), protocol.None)
			time.Sleep(retention + time.Hour)
		},
		left: map[topicPartition]int64{},
	}, {
		name: "not yet",
		run: func(t *testing.T, b *broker) {
			want(t, "commit", b.consumer().commit("orders", 0, 1), protocol.None)
			time.Sleep(retention - time.Hour)
		},
		left: map[topicPartition]int64{tp("orders", 0): 1},
	}, {
		name: "a failover does not begin the time anew",
		run: func(t *testing.T, b *broker) {
			want(t, "commit", b.consumer().commit("orders", 0, 1), protocol.None)
			time.Sleep(retention - time.Hour)
			b.failover()
			time.Sleep(2 * time.Hour)
		},
		left: map[topicPartition]int64{},
	}, {
		name: "a group with members keeps its own",
		run: func(t *testing.T, b *broker) {
			c := b.consumer()
			join(t, c)
			want(t, "commit", c.commit("orders", 0, 1), protocol.None)
			for began := time.Now(); time.Since(began) < retention+time.Hour; time.Sleep(session - time.Second) {
				c.heartbeat()
			}
		},
		left: map[topicPartition]int64{tp("orders", 0): 1},
	}, {
		name: "an empty group's time begins when it becomes empty",
		run: func(t *testing.T, b *broker) {
			c := b.consumer()
			join(t, c)
			want(t, "commit", c.commit("orders", 0, 1), protocol.None)
			for began := time.Now(); time.Since(began) < 2*time.Hour; time.Sleep(session - time.Second) {
				c.heartbeat()
			}
			time.Sleep(retention - time.Hour)
		},
		left: map[topicPartition]int64{tp("orders", 0): 1},
	}, {
		name: "a request may say when",
		run: func(t *testing.T, b *broker) {
			req := b.consumer().commitRequest("orders", 0, 1)
			req.Version, req.RetentionTimeMillis = 3, time.Hour.Milliseconds()
			b.OffsetCommit(t.Context(), req)
			b.failover()
			time.Sleep(2 * time.Hour)
		},
		left: map[topicPartition]int64{},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, nil, func(t *testing.T, b *broker) {
				tt.run(t, b)
				synctest.Wait()
				b.wantOffsets("g", tt.left)
				groups := peek(t, b, func(m *machine) int { return len(m.groups) })
				if (groups == 0) != (len(tt.left) == 0) {
					t.Errorf("%d groups are left with offsets %v", groups, tt.left)
				}
			})
		})
	}
}

func TestOffsetDelete(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		c := b.consumer()
		want(t, "commit", c.commit("orders", 0, 1), protocol.None)
		want(t, "commit", c.commit("orders", 1, 1), protocol.None)
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = "g"
		req.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 9}}}}
		resp := b.OffsetDelete(t.Context(), req)
		want(t, "delete", protocol.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode), protocol.None)
		want(t, "delete of no partition", protocol.ErrorCode(resp.Topics[0].Partitions[1].ErrorCode), protocol.UnknownTopicOrPartition)
		b.wantOffsets("g", map[topicPartition]int64{tp("orders", 1): 1})
		req.Group = "other"
		want(t, "no group", protocol.ErrorCode(b.OffsetDelete(t.Context(), req).ErrorCode), protocol.GroupIDNotFound)
	})
}
