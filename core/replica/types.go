package replica

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
)

// Images is where the manager finds the latest metadata; metadata.Loader has it.
type Images interface {
	Current() *metadata.Image
}

// Peers sends fetches to other brokers; interbroker.Pool has it. A context that
// ends gives up on the answer. buffer is memory for it, and belongs to Peers from then
// on; what comes back with the answer holds its records, and can be the next buffer.
type Peers interface {
	Fetch(ctx context.Context, broker int32, lane string, req *kmsg.FetchRequest, buffer []byte) (resp *kmsg.FetchResponse, memory []byte, err error)
}

// ISRChanger carries AlterPartition requests to the active controller;
// controller.Client has it. An error says nothing about whether it happened.
type ISRChanger interface {
	Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
}

// Isolation is what a consumer may see, numbered as on the wire.
type Isolation int8

// The isolation levels.
const (
	ReadUncommitted Isolation = 0 // up to the high watermark
	ReadCommitted   Isolation = 1 // up to the last stable offset
)

// AppendOptions says more about an append.
type AppendOptions struct {
	// Internal appends come from this broker's own coordinators. They may hold
	// control batches and transactional ones.
	Internal bool
	// LeaderEpoch, if not nil, is the only epoch in which the append may happen;
	// else it gives NOT_LEADER_OR_FOLLOWER. Nil: whichever is now.
	LeaderEpoch *int32
}

// Appended is where a produce request landed. It is not acknowledged yet: see
// Partition.AwaitAcks.
type Appended struct {
	First, Last  int64 // offsets of the first and last record
	End          int64 // the offset that the high watermark must reach
	LeaderEpoch  int32 // in which it was appended
	LogStart     int64
	MaxTimestamp int64 // milliseconds since the Unix epoch
	// Duplicate is set if an idempotent producer sent this before. The offsets are
	// those of the first time.
	Duplicate bool
}

// Follower is the follower that reads.
type Follower struct {
	ID    int32
	Epoch int64 // of its registration; -1 if it did not say
}

// ReadRequest is one partition of a Fetch. Its zero value is not useful: the
// epochs are -1 when unknown.
type ReadRequest struct {
	Offset   int64
	MaxBytes int
	// MinOne returns the first batch whole even if it is above MaxBytes (KIP-74).
	MinOne bool
	// CurrentLeaderEpoch is the epoch that the reader believes in, or -1.
	CurrentLeaderEpoch int32
	// LastFetchedEpoch is the epoch of the last record that the reader has, or -1.
	// It finds out about divergence (KIP-595).
	LastFetchedEpoch int32
	// Replica is nil for consumers. Only requests of the cluster listener may set it.
	Replica *Follower
	// DurableEnd is up to where a follower has its log on stable storage; -1 if it did
	// not say: then everything before Offset is.
	DurableEnd int64
	// KnownMark is the high watermark that a follower was told last; -1: unknown. It is
	// told of a higher one although there are no records.
	KnownMark int64
	// LogStart is the first offset of a follower's log, as it said.
	LogStart  int64
	Isolation Isolation
}

// EpochEnd is an epoch and the offset after its last record.
type EpochEnd struct {
	Epoch     int32
	EndOffset int64
}

// ReadResult is the answer to a ReadRequest. The offsets are also set beside an
// OFFSET_OUT_OF_RANGE error.
type ReadResult struct {
	// Records is whole batches where they lie, nil if there are none. Release it.
	Records       *wal.Span
	HighWatermark int64
	LastStable    int64
	LogStart      int64
	// Aborted is, for ReadCommitted, the aborted transactions with something among
	// Records, in the order of their markers, and not nil; else nil.
	Aborted []wal.AbortedTransaction
	// Diverging is set if the reader's log is not a prefix of this one: it has to
	// truncate to what both share. Records is empty then.
	Diverging *EpochEnd
}

// PartitionState is a partition at one moment.
type PartitionState struct {
	Leader         bool // this broker leads it
	LeaderID       int32
	LeaderEpoch    int32
	PartitionEpoch int32
	Replicas, ISR  []int32 // as committed; must not be changed
	HighWatermark  int64
	Start, End     int64
	Durable        int64 // everything before it is on this broker's stable storage
}
