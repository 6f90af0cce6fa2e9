package replica

import (
	"errors"
	"fmt"
	"testing"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

func TestFailedDiskIsFinal(t *testing.T) {
	c := testCluster(t, 1, nil)
	topic := c.topic("orders", 1, []int32{1})
	p, n := c.on(1, topic), c.nodes[1]
	a, err := produce(p, AcksAll, "a")
	if err != nil {
		t.Fatal(err)
	}
	disk := errors.New("input/output error")
	p.fail(disk)
	n.dead.Store(true)
	if err := <-n.done; !errors.Is(err, disk) {
		t.Errorf("Run: %v, want %v", err, disk)
	}
	_, err = produce(p, AcksLeader, "b")
	wantCode(t, err, protocol.KafkaStorageError)
	_, err = p.Read(readAt(0))
	wantCode(t, err, protocol.KafkaStorageError)
	_, err = p.ReadLocal(0, 1)
	wantCode(t, err, protocol.KafkaStorageError)
	wantCode(t, p.AwaitAcks(t.Context(), a, AcksAll), protocol.KafkaStorageError)
}

func TestLogErrors(t *testing.T) {
	_, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}})
	refused := protocol.Errorf(protocol.OutOfOrderSequenceNumber, "sequence 3 after 1")
	wantCode(t, p.logError("append to", fmt.Errorf("append: %w", refused)), protocol.OutOfOrderSequenceNumber)
	if p.failure.Load() != nil {
		t.Fatal("a refused append counts as a failed disk")
	}
	wantCode(t, p.logError("append to", errors.New("no space left on device")), protocol.KafkaStorageError)
	if p.failure.Load() == nil {
		t.Error("a failed write does not count as a failed disk")
	}
}

func TestRetentionKeepsWhatIsNotCommitted(t *testing.T) {
	_, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}},
		"segment.bytes", "100", "retention.bytes", "1")
	for i := range 10 {
		if _, err := produce(p, AcksLeader, fmt.Sprint(i), "of a batch that fills its segment"); err != nil {
			t.Fatal(err)
		}
		if i == 4 {
			p.syncLog(t.Context()) // the high watermark is 10
		}
	}
	p.retain(t.Context())
	if s := p.State(); s.Start != 10 || s.End != 20 || s.HighWatermark != 10 {
		t.Errorf("start %d, high watermark %d, end %d; want 10, 10 and 20", s.Start, s.HighWatermark, s.End)
	}
}
