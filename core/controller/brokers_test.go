package controller

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

func TestAlterPartition(t *testing.T) {
	member := func(id int32, epoch int64) kmsg.AlterPartitionRequestTopicPartitionNewEpochISR {
		return kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: epoch}
	}
	type isr = []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR
	good := isr{member(1, 1), member(2, 2), member(3, 3)}
	tests := []struct {
		name           string
		topic          metadata.UUID
		partition      int32
		leader         int32 // who asks; 0 = 1
		leaderEpoch    int32
		partitionEpoch int32
		isr            isr
		fenced         int32
		want           protocol.ErrorCode
	}{
		{name: "granted", topic: orders, isr: good, leaderEpoch: 4, partitionEpoch: 9},
		{name: "a member stays without its epoch", topic: orders, isr: isr{member(1, -1), member(3, 3)}, leaderEpoch: 4, partitionEpoch: 9},
		{name: "nobody joins without an epoch", topic: orders, isr: isr{member(1, 1), member(3, -1)}, leaderEpoch: 4, partitionEpoch: 9, want: protocol.IneligibleReplica},
		{name: "no topic", topic: metadata.UUID{9}, isr: good, leaderEpoch: 4, partitionEpoch: 9, want: protocol.UnknownTopicID},
		{name: "no partition", topic: orders, partition: 5, isr: good, leaderEpoch: 4, partitionEpoch: 9, want: protocol.UnknownTopicOrPartition},
		{name: "an old leader", topic: orders, isr: good, leaderEpoch: 3, partitionEpoch: 9, want: protocol.FencedLeaderEpoch},
		{name: "a leader of a later controller", topic: orders, isr: good, leaderEpoch: 5, partitionEpoch: 9, want: protocol.NotController},
		{name: "an old partition epoch", topic: orders, isr: good, leaderEpoch: 4, partitionEpoch: 8, want: protocol.InvalidUpdateVersion},
		{name: "a partition epoch of a later controller", topic: orders, isr: good, leaderEpoch: 4, partitionEpoch: 10, want: protocol.NotController},
		{name: "not the leader", topic: orders, leader: 2, isr: good, leaderEpoch: 4, partitionEpoch: 9, want: protocol.InvalidRequest},
		{name: "without the leader", topic: orders, isr: isr{member(2, 2)}, leaderEpoch: 4, partitionEpoch: 9, want: protocol.InvalidRequest},
		{name: "empty", topic: orders, leaderEpoch: 4, partitionEpoch: 9, want: protocol.InvalidRequest},
		{name: "a member twice", topic: orders, isr: isr{member(1, 1), member(1, 1)}, leaderEpoch: 4, partitionEpoch: 9, want: protocol.InvalidRequest},
		{name: "not a replica", topic: orders, isr: isr{member(1, 1), member(4, 4)}, leaderEpoch: 4, partitionEpoch: 9, want: protocol.InvalidRequest},
		{name: "a fenced member", topic: orders, isr: good, fenced: 3, leaderEpoch: 4, partitionEpoch: 9, want: protocol.IneligibleReplica},
		{name: "another process of a member", topic: orders, isr: isr{member(1, 1), member(2, 1)}, leaderEpoch: 4, partitionEpoch: 9, want: protocol.IneligibleReplica},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := on(1, []int32{1}, 1, 2, 3)
			p.LeaderEpoch, p.PartitionEpoch = 4, 9
			records := append(brokerRecords(4), topicRecords("orders", orders, p)...)
			if tt.fenced > 0 {
				records = append(records, fence(tt.fenced))
			}
			r := testRound(image(t, records...))
			req := kmsg.NewPtrAlterPartitionRequest()
			req.BrokerID = max(1, tt.leader)
			req.BrokerEpoch = int64(req.BrokerID)
			req.Topics = []kmsg.AlterPartitionRequestTopic{{TopicID: tt.topic, Partitions: []kmsg.AlterPartitionRequestTopicPartition{{
				Partition: tt.partition, LeaderEpoch: tt.leaderEpoch, PartitionEpoch: tt.partitionEpoch, NewEpochISR: tt.isr,
			}}}}
			got := r.alterPartition(req).Topics[0].Partitions[0]
			if code(got.ErrorCode) != tt.want {
				t.Fatalf("got %v, want %v", code(got.ErrorCode), tt.want)
			}
			if granted := len(r.steps) == 1; granted != (tt.want == protocol.None) {
				t.Fatalf("records %v", r.records())
			}
			if tt.want == protocol.None && (got.PartitionEpoch != 10 || got.LeaderEpoch != 4 || len(got.ISR) != len(tt.isr)) {
				t.Errorf("answer %+v", got)
			}
		})
	}
	t.Run("an old registration", func(t *testing.T) {
		req := kmsg.NewPtrAlterPartitionRequest()
		req.BrokerID, req.BrokerEpoch = 1, 99
		if got := testRound(image(t, brokerRecords(1)...)).alterPartition(req); code(got.ErrorCode) != protocol.StaleBrokerEpoch {
			t.Errorf("got %v", code(got.ErrorCode))
		}
	})
}

func TestRegisterBroker(t *testing.T) {
	register := func(id int32, incarnation byte) *kmsg.BrokerRegistrationRequest {
		req := kmsg.NewPtrBrokerRegistrationRequest()
		req.BrokerID, req.ClusterID, req.IncarnationID = id, "test", metadata.UUID{incarnation}
		return req
	}
	other := register(1, 9)
	other.ClusterID = "other"
	topics := topicRecords("orders", orders, on(1, []int32{1, 2}, 1, 2), on(1, []int32{1}, 1))
	tests := []struct {
		name   string
		req    *kmsg.BrokerRegistrationRequest
		heard  bool // of the first process, in this term
		others bool // were heard of
		silent time.Duration
		want   protocol.ErrorCode
		epoch  int64
		bumps  int // partitions that change
	}{
		{name: "a new broker", req: register(3, 3), epoch: 3},
		{name: "another cluster", req: other, want: protocol.InconsistentClusterID, epoch: -1},
		{name: "no incarnation", req: register(3, 0), want: protocol.InvalidRegistration, epoch: -1},
		{name: "the same process again", req: register(1, 1), epoch: 1},
		{name: "another process while the first is alive", req: register(1, 9), want: protocol.DuplicateBrokerRegistration, epoch: -1},
		{name: "the controller's own process, after a start", req: register(1, 7), others: true, epoch: 3, bumps: 2},
		{name: "the same, and of another broker nobody knows if it is alive", req: register(1, 7), want: protocol.DuplicateBrokerRegistration, epoch: -1},
		{name: "the same, after it has turned out to be dead", req: register(1, 7), silent: time.Hour, epoch: 3, bumps: 2},
		{name: "the controller's own process, and another one is alive", req: register(1, 7), heard: true, want: protocol.DuplicateBrokerRegistration, epoch: -1},
		{name: "with the incarnation of the controller's process, but of another broker", req: register(2, 7), want: protocol.DuplicateBrokerRegistration, epoch: -1},
		{name: "another process after the first fell silent", req: register(1, 9), others: true, silent: time.Second, epoch: 3, bumps: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := testRound(image(t, append(brokerRecords(2), topics...)...), func(c *Config) { c.Incarnation = metadata.UUID{7} })
			r.now = epoch0.Add(tt.silent)
			if tt.others {
				r.t.live.hear(2, epoch0.Add(time.Millisecond))
			}
			if tt.heard {
				r.t.live.hear(tt.req.BrokerID, epoch0.Add(time.Millisecond))
			}
			resp, ok := r.registerBroker(tt.req).resp.(*kmsg.BrokerRegistrationResponse)
			if !ok || code(resp.ErrorCode) != tt.want || resp.BrokerEpoch != tt.epoch {
				t.Fatalf("got %v, epoch %d, want %v, %d", code(resp.ErrorCode), resp.BrokerEpoch, tt.want, tt.epoch)
			}
			if tt.epoch < 3 {
				wantRecords(t, r)
				return
			}
			if b, _ := r.delta.Broker(tt.req.BrokerID); !b.Fenced || b.Epoch != tt.epoch {
				t.Errorf("registered as %+v", b)
			}
			if got := len(r.steps) - 1; got != tt.bumps {
				t.Errorf("%d partitions changed, want %d", got, tt.bumps)
			}
			if p := r.delta.Partition(orders, 1); tt.bumps > 0 && (p.Leader != metadata.NoLeader || p.LeaderEpoch != 1 || len(p.ISR) != 1) {
				t.Errorf("the partition that nobody else has: %+v", p)
			}
		})
	}
}

func TestHeartbeatDecisions(t *testing.T) {
	tests := []struct {
		name      string
		records   []metadata.Record
		req       kmsg.BrokerHeartbeatRequest
		want      protocol.ErrorCode
		fenced    bool
		shutdown  bool
		leaderOf0 int32
	}{
		{name: "not registered", req: kmsg.BrokerHeartbeatRequest{BrokerID: 9}, want: protocol.BrokerIDNotRegistered, leaderOf0: 1},
		{name: "an old epoch", req: kmsg.BrokerHeartbeatRequest{BrokerID: 1, BrokerEpoch: 9}, want: protocol.StaleBrokerEpoch, leaderOf0: 1},
		{name: "behind its registration", records: []metadata.Record{fence(3)}, req: kmsg.BrokerHeartbeatRequest{BrokerID: 3, BrokerEpoch: 3, CurrentMetadataOffset: 4}, fenced: true, leaderOf0: 1},
		{name: "caught up", records: []metadata.Record{fence(3)}, req: kmsg.BrokerHeartbeatRequest{BrokerID: 3, BrokerEpoch: 3, CurrentMetadataOffset: 5}, leaderOf0: 1},
		{name: "caught up, but wants to stay out", records: []metadata.Record{fence(3)}, req: kmsg.BrokerHeartbeatRequest{BrokerID: 3, BrokerEpoch: 3, CurrentMetadataOffset: 5, WantFence: true}, fenced: true, leaderOf0: 1},
		{name: "wants out", req: kmsg.BrokerHeartbeatRequest{BrokerID: 3, BrokerEpoch: 3, WantFence: true}, fenced: true, leaderOf0: 1},
		{name: "leaves: its leaderships first", req: kmsg.BrokerHeartbeatRequest{BrokerID: 1, BrokerEpoch: 1, WantShutdown: true}, fenced: true, shutdown: true, leaderOf0: 2},
		{name: "fenced, leaves", records: []metadata.Record{fence(1)}, req: kmsg.BrokerHeartbeatRequest{BrokerID: 1, BrokerEpoch: 1, WantShutdown: true}, fenced: true, shutdown: true, leaderOf0: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := append(brokerRecords(3), topicRecords("orders", orders, on(1, []int32{1, 2}, 1, 2))...)
			r := testRound(image(t, append(records, tt.records...)...))
			resp := r.heartbeat(&tt.req)
			if code(resp.ErrorCode) != tt.want || tt.want == protocol.None && resp.IsFenced != tt.fenced || resp.ShouldShutdown != tt.shutdown {
				t.Errorf("got %v, fenced %v, shutdown %v", code(resp.ErrorCode), resp.IsFenced, resp.ShouldShutdown)
			}
			if got := r.delta.Partition(orders, 0).Leader; got != tt.leaderOf0 {
				t.Errorf("leader %d, want %d", got, tt.leaderOf0)
			}
		})
	}
}

func TestAllocateProducerIDs(t *testing.T) {
	r := testRound(image(t, brokerRecords(1)...))
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = 1, 1
	for n := range int64(3) { // blocks of one round do not overlap
		if resp := r.allocateProducerIDs(req); resp.ErrorCode != 0 || resp.ProducerIDStart != n*1000 || resp.ProducerIDLen != 1000 {
			t.Errorf("block %d: %+v", n, resp)
		}
	}
	req.BrokerEpoch = 2
	if resp := r.allocateProducerIDs(req); code(resp.ErrorCode) != protocol.StaleBrokerEpoch {
		t.Errorf("got %v", code(resp.ErrorCode))
	}
}
