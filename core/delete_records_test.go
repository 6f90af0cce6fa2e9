package core_test

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestDeleteRecordsOnTheWire deletes records as a client of Kafka does, in every version.
func TestDeleteRecordsOnTheWire(t *testing.T) {
	b := startBroker(t, nil)
	ctx := within(t, 60*time.Second)
	client := b.client(t)
	adm := kadm.NewClient(client)
	_, err := adm.CreateTopic(ctx, 1, 1, nil, "orders")
	must(t, err)
	_, err = adm.CreateTopic(ctx, 1, 1, map[string]*string{"cleanup.policy": new("compact")}, "compacted")
	must(t, err)
	for range 10 {
		must(t, client.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("x")}, &kgo.Record{Topic: "compacted", Key: []byte("k"), Value: []byte("x")}).FirstErr())
	}
	tests := []struct {
		topic     string
		partition int32
		offset    int64
		low       int64
		want      error
	}{
		{"orders", 0, 3, 3, nil},
		{"orders", 0, 2, 3, nil}, // nothing comes back
		{"orders", 0, 11, -1, kerr.OffsetOutOfRange},
		{"orders", 0, -2, -1, kerr.OffsetOutOfRange},
		{"orders", 1, 3, -1, kerr.UnknownTopicOrPartition},
		{"none", 0, 3, -1, kerr.UnknownTopicOrPartition},
		{"compacted", 0, 3, -1, kerr.PolicyViolation},
		{"__consumer_offsets", 0, 0, -1, kerr.InvalidTopicException},
	}
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Version, req.TimeoutMillis = version, 30_000
		for _, tt := range tests {
			p := kmsg.NewDeleteRecordsRequestTopicPartition()
			p.Partition, p.Offset = tt.partition, tt.offset
			topic := kmsg.NewDeleteRecordsRequestTopic()
			topic.Topic, topic.Partitions = tt.topic, append(topic.Partitions, p)
			req.Topics = append(req.Topics, topic)
		}
		resp := raw(t, b.addr, req).(*kmsg.DeleteRecordsResponse)
		if len(resp.Topics) != len(tests) {
			t.Fatalf("v%d: %d topics, want %d", version, len(resp.Topics), len(tests))
		}
		for i, tt := range tests {
			got := resp.Topics[i].Partitions[0]
			if err := kerr.ErrorForCode(got.ErrorCode); resp.Topics[i].Topic != tt.topic || !errors.Is(err, tt.want) || got.LowWatermark != tt.low {
				t.Errorf("v%d, %s before %d: got %v, low watermark %d; want %v, %d", version, tt.topic, tt.offset, err, got.LowWatermark, tt.want, tt.low)
			}
		}
	}
	starts, err := adm.ListStartOffsets(ctx, "orders")
	must(t, err)
	if o, _ := starts.Lookup("orders", 0); o.Offset != 3 {
		t.Errorf("the earliest offset is %d, want 3", o.Offset)
	}
	var all kadm.Offsets
	all.AddOffset("orders", 0, -1, -1)
	deleted, err := adm.DeleteRecords(ctx, all)
	must(t, err)
	must(t, deleted.Error())
	if d, _ := deleted.Lookup("orders", 0); d.LowWatermark != 10 {
		t.Errorf("all of it: low watermark %d, want 10", d.LowWatermark)
	}
}
