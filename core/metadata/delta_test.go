package metadata

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quorate/quorate/consensus"
)

var (
	orders   = UUID{1}
	payments = UUID{2}
)

var imageEqual = cmp.AllowUnexported(Image{})

// baseRecords make three brokers and the topic orders with two partitions.
func baseRecords() []Record {
	records := []Record{ClusterRecord{ID: "test"}}
	for id := range int32(3) {
		records = append(records, RegisterBrokerRecord{ID: id + 1, Epoch: int64(id + 1), Incarnation: UUID{byte(id)}, Rack: "a"})
	}
	return append(records,
		TopicRecord{Name: "orders", ID: orders},
		PartitionRecord{TopicID: orders, Partition: 0, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1},
		PartitionRecord{TopicID: orders, Partition: 1, Replicas: []int32{2, 3}, ISR: []int32{2}, Leader: 2},
		ConfigRecord{Resource: ConfigResource{TopicResource, "orders"}, Name: "retention.ms", Value: new("5")},
	)
}

func mustImage(t testing.TB, base *Image, records ...Record) *Image {
	t.Helper()
	d := NewDelta(base)
	if err := d.ReplayAll(records); err != nil {
		t.Fatal(err)
	}
	return d.Image(base.Index+1, 1, consensus.Gate{Term: 1, Sequence: base.Gate.Sequence + 1})
}

// roundTrip is the image that img's records and header give.
func roundTrip(t testing.TB, img *Image) *Image {
	t.Helper()
	d := NewDelta(Empty())
	if err := d.ReplayAll(img.Records()); err != nil {
		t.Fatalf("the records of an image do not replay: %v", err)
	}
	return d.Image(img.Index, img.Term, img.Gate)
}

// diff says how two images differ. Equal images, the usual case, are found so
// without cmp, which takes its time.
func diff(a, b *Image) string {
	x, y := withMaps(a), withMaps(b)
	if reflect.DeepEqual(x, y) {
		return ""
	}
	return cmp.Diff(x, y, imageEqual)
}

// withMaps makes no map an empty one: readers can not tell them apart.
func withMaps(i *Image) *Image {
	c := *i
	c.brokers, c.topics, c.names, c.configs = clone(c.brokers), clone(c.topics), clone(c.names), clone(c.configs)
	return &c
}

func TestReplayPartitionChange(t *testing.T) {
	tests := []struct {
		name    string
		records []Record
		want    Partition
		wantErr string
	}{{
		name:    "a new leader bumps both epochs",
		records: []Record{PartitionChangeRecord{TopicID: orders, Leader: new(int32(2))}},
		want:    Partition{Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 2, LeaderEpoch: 1, PartitionEpoch: 1},
	}, {
		name:    "no leader is a leader of its own epoch",
		records: []Record{PartitionChangeRecord{TopicID: orders, Leader: new(NoLeader)}},
		want:    Partition{Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: NoLeader, LeaderEpoch: 1, PartitionEpoch: 1},
	}, {
		name: "leaving and coming back is two epochs",
		records: []Record{
			PartitionChangeRecord{TopicID: orders, Leader: new(NoLeader)},
			PartitionChangeRecord{TopicID: orders, Leader: new(int32(1))},
		},
		want: Partition{Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1, LeaderEpoch: 2, PartitionEpoch: 2},
	}, {
		name:    "the same leader keeps its epoch",
		records: []Record{PartitionChangeRecord{TopicID: orders, Leader: new(int32(1)), ISR: []int32{1}}},
		want:    Partition{Replicas: []int32{1, 2}, ISR: []int32{1}, Leader: 1, PartitionEpoch: 1},
	}, {
		name:    "replicas",
		records: []Record{PartitionChangeRecord{TopicID: orders, Replicas: []int32{1, 2, 3}}},
		want:    Partition{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, Leader: 1, PartitionEpoch: 1},
	}, {
		name:    "a change to no partition is corruption",
		records: []Record{PartitionChangeRecord{TopicID: orders, Partition: 9}},
		wantErr: "replay partition change: no partition 01000000000000000000000000000000-9",
	}, {
		name:    "a negative partition is corruption",
		records: []Record{PartitionChangeRecord{TopicID: orders, Partition: -1}},
		wantErr: "no partition",
	}, {
		name:    "a leader outside the isr is corruption",
		records: []Record{PartitionChangeRecord{TopicID: orders, Leader: new(int32(3))}},
		wantErr: "leader 3 is not in isr [1 2]",
	}, {
		name:    "an isr outside the replicas is corruption",
		records: []Record{PartitionChangeRecord{TopicID: orders, ISR: []int32{1, 3}}},
		wantErr: "isr [1 3] of replicas [1 2]",
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := mustImage(t, Empty(), baseRecords()...)
			before := roundTrip(t, base)
			d := NewDelta(base)
			err := d.ReplayAll(tt.records)
			if d := diff(before, base); d != "" {
				t.Fatalf("the base image changed:\n%s", d)
			}
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("got %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			img := d.Image(2, 1, consensus.Gate{Term: 1, Sequence: 2})
			if got := cmp.Diff(&tt.want, img.Partition(orders, 0)); got != "" {
				t.Errorf("partition (-want +got):\n%s", got)
			}
			if got := diff(img, roundTrip(t, img)); got != "" {
				t.Errorf("image -> records -> image (-want +got):\n%s", got)
			}
		})
	}
}

func TestReplayRefuses(t *testing.T) {
	tests := []struct {
		name string
		rec  Record
		want string
	}{
		{"another cluster", ClusterRecord{ID: "other"}, `id "other", the cluster is "test"`},
		{"no cluster id", ClusterRecord{}, "empty id"},
		{"an epoch that does not grow", RegisterBrokerRecord{ID: 4, Epoch: 3}, "epoch 3, want at least 4"},
		{"a negative broker", RegisterBrokerRecord{ID: -1, Epoch: 9}, "broker -1"},
		{"a change of no broker", BrokerChangeRecord{ID: 9, Epoch: 1}, "no broker 9"},
		{"a change of an older registration", BrokerChangeRecord{ID: 2, Epoch: 1}, "broker 2 has epoch 2, not 1"},
		{"unregistration of an older registration", UnregisterBrokerRecord{ID: 2, Epoch: 1}, "broker 2 has epoch 2, not 1"},
		{"a broker epoch that goes back", BrokerEpochRecord{Next: 2}, "2 after 4"},
		{"a topic's name twice", TopicRecord{Name: "orders", ID: payments}, `"orders" exists`},
		{"a topic's id twice", TopicRecord{Name: "other", ID: orders}, "exists"},
		{"a topic without id", TopicRecord{Name: "other"}, `name "other"`},
		{"a gap in the partitions", PartitionRecord{TopicID: orders, Partition: 3, Replicas: []int32{1}, ISR: []int32{1}}, "after 2 partitions"},
		{"a partition of no topic", PartitionRecord{TopicID: payments}, "no topic"},
		{"a partition without replicas", PartitionRecord{TopicID: orders, Partition: 2}, "0 replicas"},
		{"a replica twice", PartitionRecord{TopicID: orders, Partition: 2, Replicas: []int32{1, 1}, ISR: []int32{1}, Leader: 1}, "replicas [1 1]"},
		{"removal of no topic", RemoveTopicRecord{ID: payments}, "no topic"},
		{"config of no topic", ConfigRecord{Resource: ConfigResource{TopicResource, "x"}, Name: "a"}, `no topic "x"`},
		{"config of a wrong type", ConfigRecord{Resource: ConfigResource{9, "x"}, Name: "a"}, "resource type 9"},
		{"config without a name", ConfigRecord{Resource: ConfigResource{BrokerResource, ""}}, "no name"},
		{"producer ids that go back", ProducerIDsRecord{}, "next 0 after 0"},
		{"nil", nil, "unknown record"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := mustImage(t, Empty(), baseRecords()...)
			err := NewDelta(base).Replay(tt.rec)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTopicRemovedAndMadeAgainInOneDelta(t *testing.T) {
	resource := ConfigResource{TopicResource, "orders"}
	img := mustImage(t, mustImage(t, Empty(), baseRecords()...),
		ConfigRecord{Resource: resource, Name: "segment.ms", Value: new("7")},
		RemoveTopicRecord{ID: orders},
		TopicRecord{Name: "orders", ID: payments},
		PartitionRecord{TopicID: payments, Replicas: []int32{3}, ISR: []int32{3}, Leader: 3},
		ConfigRecord{Resource: resource, Name: "retention.bytes", Value: new("1")},
	)
	if _, ok := img.TopicByID(orders); ok {
		t.Error("the old topic is still there")
	}
	if got := img.Config(resource); len(got) != 1 || got["retention.bytes"] != "1" {
		t.Errorf("config %v, want only what the new topic was given", got)
	}
	if leader, epoch, ok := img.LeaderFor("orders", 0); leader != 3 || epoch != 0 || !ok {
		t.Errorf("leader %d, epoch %d, %v", leader, epoch, ok)
	}
}

func TestDeltaGoesOnAfterAnImage(t *testing.T) {
	d := NewDelta(Empty())
	if err := d.ReplayAll(baseRecords()); err != nil {
		t.Fatal(err)
	}
	first := d.Image(1, 1, consensus.Gate{})
	before := roundTrip(t, first)
	if err := d.ReplayAll([]Record{
		PartitionChangeRecord{TopicID: orders, Leader: new(int32(2))},
		ConfigRecord{Resource: ConfigResource{TopicResource, "orders"}, Name: "retention.ms"},
		UnregisterBrokerRecord{ID: 3, Epoch: 3},
	}); err != nil {
		t.Fatal(err)
	}
	if got := diff(before, first); got != "" {
		t.Fatalf("an image changed after it was made:\n%s", got)
	}
}
