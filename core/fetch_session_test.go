package core_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFetchSessionOnTheWire opens a session over two partitions and wants to be told
// only of the one that gets records.
func TestFetchSessionOnTheWire(t *testing.T) {
	b := startBroker(t, nil)
	_, err := kadm.NewClient(b.client(t)).CreateTopic(within(t, 30*time.Second), 2, 1, nil, "orders")
	must(t, err)
	fetch := func(id, epoch int32, wait time.Duration, partitions ...int32) *kmsg.FetchResponse {
		req := kmsg.NewPtrFetchRequest()
		req.Version, req.ReplicaID, req.SessionID, req.SessionEpoch = 12, -1, id, epoch
		req.MinBytes, req.MaxBytes, req.MaxWaitMillis = 1, 1<<20, int32(wait.Milliseconds())
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic = "orders"
		for _, partition := range partitions {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.PartitionMaxBytes = partition, 1<<20
			topic.Partitions = append(topic.Partitions, p)
		}
		if len(partitions) > 0 {
			req.Topics = append(req.Topics, topic)
		}
		resp := raw(t, b.addr, req).(*kmsg.FetchResponse)
		if resp.ErrorCode != 0 {
			t.Fatalf("session %d, epoch %d: error %d", id, epoch, resp.ErrorCode)
		}
		return resp
	}
	whole := fetch(0, 0, 0, 0, 1)
	if whole.SessionID == 0 || len(whole.Topics) != 1 || len(whole.Topics[0].Partitions) != 2 {
		t.Fatalf("got %+v", whole)
	}
	if nothing := fetch(whole.SessionID, 1, 0); len(nothing.Topics) != 0 || nothing.SessionID != whole.SessionID {
		t.Errorf("nothing is new, got %+v", nothing)
	}
	raw(t, b.addr, versioned(produce("orders", 1, -1, batch("x")), 9))
	got := fetch(whole.SessionID, 2, 10*time.Second)
	if len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 1 || got.Topics[0].Partitions[0].Partition != 1 || len(got.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Errorf("partition 1 has a record, got %+v", got)
	}
}
