package replica

import (
	"errors"
	"fmt"
	"testing"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
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

// TestFailedCommitIsNeverAcknowledged breaks the commit log's disk under appends that
// wait, on partitions of both kinds of acknowledgement.
func TestFailedCommitIsNeverAcknowledged(t *testing.T) {
	fsys := &faultFS{}
	c := testCluster(t, 1, func(cfg *Config) { cfg.FS = fsys })
	orders, other := c.topic("orders", 1, []int32{1}), c.topic("other", 2, []int32{1})
	p, q := c.on(1, orders), c.on(1, other)
	c.mustProduce(p, AcksAll, "before")
	release := fsys.hold()
	defer release()
	a, err := produce(p, AcksAll, "a")
	if err != nil {
		t.Fatal(err)
	}
	disk := errors.New("input/output error")
	fsys.breakDisk(disk)
	release()
	wantCode(t, p.AwaitAcks(t.Context(), a, AcksAll), protocol.KafkaStorageError)
	wantCode(t, p.AwaitAcks(t.Context(), a, AcksLeader), protocol.KafkaStorageError)
	// The disk works again, and is not believed: what was lost is lost.
	fsys.breakDisk(nil)
	_, err = produce(q, AcksLeader, "b")
	wantCode(t, err, protocol.KafkaStorageError)
	n := c.nodes[1]
	n.dead.Store(true)
	if err := <-n.done; !errors.Is(err, disk) || !errors.Is(err, wal.ErrFailed) {
		t.Errorf("Run: %v, want %v", err, disk)
	}
	if p.State().HighWatermark != 1 || p.wal.Durable() != 1 {
		t.Errorf("high watermark %d, durable %d; want 1", p.State().HighWatermark, p.wal.Durable())
	}
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
	m, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}},
		"segment.bytes", "100", "retention.bytes", "1")
	release := func() {}
	defer func() { release() }()
	for i := range 10 {
		if _, err := produce(p, AcksLeader, fmt.Sprint(i), "of a batch that fills its segment"); err != nil {
			t.Fatal(err)
		}
		if i == 4 {
			p.syncLog(t.Context()) // the high watermark is 10
			release = m.cfg.FS.(*faultFS).hold()
		}
	}
	p.retain(t.Context())
	if s := p.State(); s.Start != 10 || s.End != 20 || s.HighWatermark != 10 {
		t.Errorf("start %d, high watermark %d, end %d; want 10, 10 and 20", s.Start, s.HighWatermark, s.End)
	}
}
