package controller

import (
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

var (
	epoch0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	orders = metadata.UUID{1}
)

func testConfig(broker int32) Config {
	cfg := DefaultConfig()
	cfg.BrokerID, cfg.ClusterID = broker, "test"
	return cfg
}

// brokerRecords registers brokers 1 to n, unfenced, with epochs 1 to n.
func brokerRecords(n int) []metadata.Record {
	records := []metadata.Record{metadata.ClusterRecord{ID: "test"}}
	for id := range int32(n) {
		records = append(records, metadata.RegisterBrokerRecord{ID: id + 1, Epoch: int64(id + 1), Incarnation: metadata.UUID{byte(id + 1)}})
	}
	return records
}

func topicRecords(name string, id metadata.UUID, partitions ...metadata.PartitionRecord) []metadata.Record {
	records := []metadata.Record{metadata.TopicRecord{Name: name, ID: id}}
	for n, p := range partitions {
		p.TopicID, p.Partition = id, int32(n)
		records = append(records, p)
	}
	return records
}

func on(leader int32, isr []int32, replicas ...int32) metadata.PartitionRecord {
	return metadata.PartitionRecord{Replicas: replicas, ISR: isr, Leader: leader}
}

func fence(id int32) metadata.Record {
	return metadata.BrokerChangeRecord{ID: id, Epoch: int64(id), Fenced: new(true)}
}

func image(t *testing.T, records ...metadata.Record) *metadata.Image {
	t.Helper()
	d := metadata.NewDelta(metadata.Empty())
	if err := d.ReplayAll(records); err != nil {
		t.Fatal(err)
	}
	return d.Image(7, 1, consensus.Gate{Term: 1, Sequence: 1})
}

// testRound is a round of a term that began just now.
func testRound(img *metadata.Image, change ...func(*Config)) *round {
	cfg := testConfig(1)
	for _, f := range change {
		f(&cfg)
	}
	c := New(cfg, nil, nil, nil, slog.New(slog.DiscardHandler))
	t := &term{c: c, number: 1, readyIndex: 5, live: newLiveness(cfg, epoch0), registered: map[int32]uint64{}}
	r := newRound(t, img, epoch0)
	r.random = rand.New(rand.NewPCG(1, 2))
	return r
}

func (r *round) records() []metadata.Record {
	var out []metadata.Record
	for _, s := range r.steps {
		out = append(out, s...)
	}
	return out
}

func code(n int16) protocol.ErrorCode { return protocol.ErrorCode(n) }

func wantRecords(t *testing.T, r *round, want ...metadata.Record) {
	t.Helper()
	if d := cmp.Diff(want, r.records()); d != "" {
		t.Errorf("records (-want +got):\n%s", d)
	}
}

func TestReconcile(t *testing.T) {
	changed := func(partition int32, leader *int32, isr ...int32) metadata.Record {
		return metadata.PartitionChangeRecord{TopicID: orders, Partition: partition, Leader: leader, ISR: isr}
	}
	tests := []struct {
		name    string
		records []metadata.Record
		dead    []int32 // nobody listens there
		want    []metadata.Record
	}{{
		name:    "nothing to do",
		records: topicRecords("orders", orders, on(1, []int32{1, 2}, 1, 2)),
	}, {
		name:    "a dead leader: the next of the isr in the order of replicas leads",
		records: topicRecords("orders", orders, on(1, []int32{3, 1, 2}, 1, 2, 3)),
		dead:    []int32{1},
		want:    []metadata.Record{fence(1), changed(0, new(int32(2)), 3, 2)},
	}, {
		name:    "a dead follower leaves the isr",
		records: topicRecords("orders", orders, on(1, []int32{1, 2, 3}, 1, 2, 3)),
		dead:    []int32{3},
		want:    []metadata.Record{fence(3), changed(0, nil, 1, 2)},
	}, {
		name:    "a replica outside the isr does not lead",
		records: topicRecords("orders", orders, on(1, []int32{1}, 1, 2, 3)),
		dead:    []int32{1},
		want:    []metadata.Record{fence(1), changed(0, new(metadata.NoLeader))},
	}, {
		name:    "the last of the isr comes back and leads",
		records: topicRecords("orders", orders, on(metadata.NoLeader, []int32{2}, 1, 2)),
		want:    []metadata.Record{changed(0, new(int32(2)))},
	}, {
		name: "of a whole isr that was gone, the first that is back leads alone",
		records: append(topicRecords("orders", orders, on(metadata.NoLeader, []int32{1, 2}, 1, 2)),
			fence(1)),
		want: []metadata.Record{changed(0, new(int32(2)), 2)},
	}, {
		name: "a broker that leaves leads nothing",
		records: append(topicRecords("orders", orders, on(1, []int32{1, 2}, 1, 2), on(1, []int32{1}, 1)),
			metadata.BrokerChangeRecord{ID: 1, Epoch: 1, InControlledShutdown: new(true)}),
		want: []metadata.Record{changed(0, new(int32(2)), 2), changed(1, new(metadata.NoLeader))},
	}, {
		name: "a broker that is not registered counts as dead",
		records: append(topicRecords("orders", orders, on(1, []int32{1, 2}, 1, 2)),
			metadata.UnregisterBrokerRecord{ID: 1, Epoch: 1}),
		want: []metadata.Record{changed(0, new(int32(2)), 2)},
	}, {
		name: "unclean election where the topic allows it",
		records: append(topicRecords("orders", orders, on(1, []int32{1}, 1, 2, 3)),
			metadata.ConfigRecord{Resource: metadata.ConfigResource{Type: metadata.TopicResource, Name: "orders"}, Name: "unclean.leader.election.enable", Value: new("true")}),
		dead: []int32{1},
		want: []metadata.Record{fence(1), changed(0, new(int32(2)), 2)},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := testRound(image(t, append(brokerRecords(3), tt.records...)...))
			for _, id := range tt.dead {
				r.t.live.contacts[id] = contact{heard: epoch0, refused: true}
			}
			r.reconcile()
			wantRecords(t, r, tt.want...)
			// Level-triggered: on what comes of it, there is nothing to do.
			again := testRound(r.delta.Image(8, 1, consensus.Gate{}))
			again.reconcile()
			wantRecords(t, again)
		})
	}
}

func TestReconcileNamesTheCluster(t *testing.T) {
	r := testRound(metadata.Empty())
	r.reconcile()
	wantRecords(t, r, metadata.ClusterRecord{ID: "test"})
}

func TestSessionEnds(t *testing.T) {
	r := testRound(image(t, brokerRecords(1)...))
	r.now = epoch0.Add(r.cfg.SessionTimeout - 1)
	r.reconcile()
	wantRecords(t, r)
	r.now = epoch0.Add(r.cfg.SessionTimeout)
	r.reconcile()
	wantRecords(t, r, fence(1))
}

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
		{name: "granted without broker epochs", topic: orders, isr: isr{member(1, -1), member(3, -1)}, leaderEpoch: 4, partitionEpoch: 9},
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
		{name: "another process after the first fell silent", req: register(1, 9), silent: time.Second, epoch: 3, bumps: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := testRound(image(t, append(brokerRecords(2), topics...)...))
			r.now = epoch0.Add(tt.silent)
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

func TestPayloadsSplitBetweenSteps(t *testing.T) {
	r := testRound(metadata.Empty(), func(c *Config) { c.MaxPartitionsPerRequest = maxPartitionsPerRequest })
	value := string(make([]byte, 200<<10))
	config := metadata.ConfigResource{Type: metadata.BrokerResource}
	for range 6 { // 1.2 MB in steps of 200 kB
		from := len(r.steps)
		if err := r.commit(metadata.ConfigRecord{Resource: config, Name: "a", Value: &value}); err != nil {
			t.Fatal(err)
		}
		r.replies = append(r.replies, reply{from: from, to: len(r.steps)}, reply{from: len(r.steps), to: len(r.steps)})
	}
	payloads, err := r.payloads()
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]int
	for _, p := range r.replies {
		got = append(got, [2]int{p.from, p.to})
	}
	want := [][2]int{{0, 1}, {1, 1}, {0, 1}, {1, 1}, {1, 2}, {2, 2}, {1, 2}, {2, 2}, {2, 3}, {3, 3}, {2, 3}, {3, 3}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("replies (-want +got):\n%s", d)
	}
	for _, p := range payloads {
		if len(p) > maxProposalBytes {
			t.Errorf("a proposal of %d bytes", len(p))
		}
	}
	if err := r.commit(metadata.ConfigRecord{Resource: config, Name: "a", Value: new(string(make([]byte, maxProposalBytes)))}); protocol.CodeOf(err) != protocol.PolicyViolation {
		t.Errorf("a step that is too large: %v", err)
	}
}

func TestAnswersStandOnProposals(t *testing.T) {
	const exists = protocol.TopicAlreadyExists
	tests := []struct {
		name   string
		flight flight
		want   []protocol.ErrorCode // of the answers, or else of their only topic
	}{
		{"committed", flight{indexes: []uint64{9}}, []protocol.ErrorCode{protocol.InvalidTopicException, protocol.None, protocol.None, exists}},
		// The last is refused only because the second creates the topic.
		{"lost", flight{err: errLost}, []protocol.ErrorCode{protocol.InvalidTopicException, protocol.NotController, protocol.NotController, protocol.NotController}},
		{"unknown", flight{err: metadata.ErrForgotten}, []protocol.ErrorCode{protocol.InvalidTopicException, protocol.RequestTimedOut, protocol.RequestTimedOut, protocol.NotController}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := testRound(image(t, brokerRecords(1)...))
			var asks []*ask
			for _, name := range []string{"..", "a", "b", "a"} {
				asks = append(asks, &ask{answer: make(chan answer, 1), req: createRequest(name)})
			}
			if rest := r.decideAll(asks); rest != nil {
				t.Fatalf("%d are left", len(rest))
			}
			if _, err := r.payloads(); err != nil {
				t.Fatal(err)
			}
			r.answer(tt.flight, 7)
			for n, a := range asks {
				got := <-a.answer
				verdict := protocol.CodeOf(got.err)
				if got.err == nil {
					verdict = code(got.resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
				}
				if verdict != tt.want[n] || got.err == nil && (got.index == 9) != (n > 0) {
					t.Errorf("answer %d: %v at %d, want %v", n, verdict, got.index, tt.want[n])
				}
			}
		})
	}
}

func TestSleepingControllerFencesNobody(t *testing.T) {
	img := image(t, brokerRecords(3)...)
	r := testRound(img)
	r.t.live.hear(2, epoch0)
	r.t.live.contacts[3] = contact{heard: epoch0, refused: true}
	r.t.noticeSleep(epoch0)
	later := epoch0.Add(r.cfg.SessionTimeout / 2)
	if r.t.noticeSleep(later); !r.t.live.anyExpired(img, later) {
		t.Error("a turn of the loop that is in time begins sessions anew")
	}
	later = later.Add(time.Minute)
	if r.t.noticeSleep(later); r.t.live.anyExpired(img, later) {
		t.Error("somebody is fenced because the controller slept")
	}
}

func TestLargestTopicFitsIntoAProposal(t *testing.T) {
	var records []metadata.Record
	for id := range int32(7) {
		records = append(records, metadata.RegisterBrokerRecord{ID: 1<<30 + id, Epoch: int64(id + 1)})
	}
	r := testRound(image(t, records...), func(c *Config) { c.MaxPartitionsPerRequest = maxPartitionsPerRequest })
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "large", NumPartitions: maxPartitionsPerRequest, ReplicationFactor: 7}}
	if got := r.createTopics(req).Topics[0]; got.ErrorCode != 0 {
		t.Fatalf("%v %s", code(got.ErrorCode), *got.ErrorMessage)
	}
}
