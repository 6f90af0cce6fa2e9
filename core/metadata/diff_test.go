package metadata

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/consensus"
)

func lines(list []Difference) []string {
	shown := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	out := []string{}
	for _, d := range list {
		out = append(out, fmt.Sprintf("%s|%s|%s|%s|%s", d.Kind, d.Name, d.Field, shown(d.A), shown(d.B)))
	}
	return out
}

func TestDiff(t *testing.T) {
	orders, other := UUID{1}, UUID{9}
	id := orders.String()
	base := func(more ...Record) *Image {
		return mustImage(t, Empty(), append([]Record{
			ClusterRecord{ID: "lab"},
			RegisterBrokerRecord{ID: 1, Epoch: 1, Replica: 1, Cluster: Endpoint{Name: "cluster", Host: "h", Port: 1, Security: "SSL"}},
			TopicRecord{Name: "orders", ID: orders},
			PartitionRecord{TopicID: orders, Partition: 0, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1},
			ConfigRecord{Resource: ConfigResource{TopicResource, "orders"}, Name: "retention.ms", Value: new("1")},
		}, more...)...)
	}
	tests := []struct {
		name string
		a, b *Image
		want []string
	}{
		{name: "the same", a: base(), b: base(), want: []string{}},
		{name: "elsewhere in the log", a: base(), b: NewDelta(base()).Image(99, 9, consensus.Gate{Term: 9, Sequence: 1}), want: []string{}},
		{
			name: "epochs of a partition", a: base(), b: base(PartitionChangeRecord{TopicID: orders, Leader: new(int32(2))}),
			want: []string{"partition|orders-0|leader|1|2", "partition|orders-0|leader epoch|0|1", "partition|orders-0|partition epoch|0|1"},
		},
		{
			name: "a topic that one has", a: base(), b: base(TopicRecord{Name: "late", ID: other}),
			want: []string{"topic|late||-|id " + other.String() + ", partitions 0"},
		},
		{
			name: "a topic made again under its name", a: base(), b: base(RemoveTopicRecord{orders}, TopicRecord{Name: "orders", ID: other}),
			want: []string{
				"topic|orders|id|" + id + "|" + other.String(), "topic|orders|partitions|1|0",
				"partition|orders-0||replicas [1 2], isr [1 2], leader 1, leader epoch 0, partition epoch 0, adding [], removing []|-",
				"config|topic orders|retention.ms|1|-",
			},
		},
		{
			name: "settings", a: base(ConfigRecord{Resource: ConfigResource{BrokerResource, ""}, Name: "x", Value: new("")}),
			b:    base(ConfigRecord{Resource: ConfigResource{TopicResource, "orders"}, Name: "retention.ms", Value: new("2")}),
			want: []string{"config|all brokers|x||-", "config|topic orders|retention.ms|1|2"},
		},
		{
			name: "a broker", a: base(), b: base(BrokerChangeRecord{ID: 1, Epoch: 1, Fenced: new(true)}),
			want: []string{"broker|1|fenced|false|true"},
		},
		{
			name: "counters", a: base(), b: base(ProducerIDsRecord{BrokerID: 1, BrokerEpoch: 1, NextProducerID: 1000}, BrokerEpochRecord{Next: 7}, ReplicaIDRecord{Next: 5}),
			want: []string{"cluster||next broker epoch|2|7", "cluster||next replica id|2|5", "producer ids||next|0|1000"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(lines(Diff(tt.a, tt.b)), "\n"); got != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(tt.want, "\n"))
			}
			back := Diff(tt.b, tt.a)
			if len(back) != len(tt.want) {
				t.Errorf("the other way round: %v", lines(back))
			}
		})
	}
}

// Whatever one record changes, Diff sees, and by name: nothing that an image holds
// is left to "records".
func TestDiffSeesEveryRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		img := Empty()
		for range rapid.IntRange(1, 30).Draw(t, "records") {
			d := NewDelta(img)
			if err := d.Replay(drawRecord(t, &d.next)); err != nil {
				t.Fatal(err)
			}
			next := d.Image(img.Index+1, 1, consensus.Gate{})
			found := Diff(img, next)
			if same := img.SameRecords(next); same != (len(found) == 0) {
				t.Fatalf("the same: %v, but found %v", same, lines(found))
			}
			for _, f := range found {
				if f.Kind == "records" {
					t.Fatal("something changed that has no name")
				}
			}
			img = next
		}
	})
}
