package replica

import (
	"context"

	"github.com/quorate/quorate/protocol"
)

// Partition is this broker's replica of a partition.
type Partition struct{}

// Append writes record batches as their leader, in the order of calls, and
// returns before they are durable. batches is overwritten in place (base offsets,
// leader epochs) and not kept.
func (p *Partition) Append(batches []byte, acks int16, opts AppendOptions) (Appended, error) {
	return Appended{}, protocol.Errorf(protocol.NotLeaderOrFollower, "not the leader")
}

// AwaitAcks waits until an append is acknowledged: with acks=1 on this broker's
// stable storage, with acks=-1 on the whole ISR's. The error is NOT_LEADER_OR_FOLLOWER
// if leadership was lost meanwhile, NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT
// when ctx ends, KAFKA_STORAGE_ERROR: with each of them the records may
// still become committed.
func (p *Partition) AwaitAcks(ctx context.Context, a Appended, acks int16) error {
	return protocol.Errorf(protocol.NotLeaderOrFollower, "not the leader")
}

// Read answers one partition of a Fetch without waiting for data. A follower's
// read records its position, which may move the high watermark and the ISR.
func (p *Partition) Read(r ReadRequest) (ReadResult, error) {
	return ReadResult{}, protocol.Errorf(protocol.NotLeaderOrFollower, "not the leader")
}

// ReadLocal reads whole batches from the local log up to its end, committed or
// not, whoever leads: for coordinators that load their partition. The first batch
// is whole even above maxBytes.
func (p *Partition) ReadLocal(from int64, maxBytes int) ([]byte, error) {
	return nil, protocol.Errorf(protocol.KafkaStorageError, "no log")
}

// ListOffset answers ListOffsets: timestamp in milliseconds, or -1 latest, -2
// earliest, -3 maximum timestamp, -4 earliest local. Offset -1 with a nil error
// means that there is no such record. currentEpoch is -1 if the client does not know.
func (p *Partition) ListOffset(timestamp int64, currentEpoch int32, isolation Isolation) (offset, foundTimestamp int64, epoch int32, err error) {
	return -1, -1, -1, protocol.Errorf(protocol.NotLeaderOrFollower, "not the leader")
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch that is not above the
// one asked for, and the offset after its last record; -1 and -1 if there is none.
func (p *Partition) EpochEnd(currentEpoch, epoch int32) (largest int32, end int64, err error) {
	return -1, -1, protocol.Errorf(protocol.NotLeaderOrFollower, "not the leader")
}

// State returns the partition as it is now.
func (p *Partition) State() PartitionState { return PartitionState{} }
