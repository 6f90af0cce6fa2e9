package coordinator

import "context"

// Partition is what a shard needs of a partition that this broker leads.
type Partition interface {
	// Append appends one batch if this broker leads in epoch, and returns the offset
	// after it. A *protocol.Error with NOT_LEADER_OR_FOLLOWER, or one that refuses the
	// batch, means that nothing was written; any other error that something may be.
	Append(epoch int32, batch []byte) (end int64, err error)
	// AwaitCommitted returns nil once everything before end is committed, and
	// NOT_LEADER_OR_FOLLOWER if this broker stops to lead in epoch before.
	AwaitCommitted(ctx context.Context, epoch int32, end int64) error
	// ReadLocal returns whole batches from the one that holds offset from on, up to
	// the log's end, committed or not.
	ReadLocal(from int64, maxBytes int) ([]byte, error)
	// Bounds returns the log's first offset and the one after its last.
	Bounds() (start, end int64)
}

// Source is where a topic's partitions come from.
type Source interface {
	// Partition returns a partition of the topic; an error if this broker has none.
	Partition(partition int32) (Partition, error)
	// OnLeadership has f called whenever this broker begins or ceases to lead a
	// partition of the topic. f does not block.
	OnLeadership(f func(partition int32, leader bool, epoch int32))
}
