package controller

import (
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
