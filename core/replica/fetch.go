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
	f := newFetching(m, plan)
	if f.read(true) || plan.MaxWait <= 0 {
		return f.results
	}
	watch := WatchHighWatermark
	if plan.Replica {
		watch = WatchEnd
	}
	w := m.NewWaiter(watch, f.parts...)
	defer w.Close()
	timeout := time.NewTimer(plan.MaxWait)
	defer timeout.Stop()
	for !f.read(false) { // at once: something may have come before the waiter
		select {
		case <-w.C():
		case <-timeout.C:
			return f.results
		case <-ctx.Done():
			return f.results
		}
	}
	return f.results
}

// fetching is one Fetch under way.
type fetching struct {
	plan    FetchPlan
	parts   []*Partition // nil where there is an error already
	results []FetchResult
}

func newFetching(m *Manager, plan FetchPlan) *fetching {
	f := &fetching{
		plan:    plan,
		parts:   make([]*Partition, len(plan.Parts)),
		results: make([]FetchResult, len(plan.Parts)),
	}
	for i, part := range plan.Parts {
		f.parts[i], f.results[i].Err = m.Partition(part.TopicID, part.Partition)
	}
	return f
}

// read reads every partition anew, and tells if the answer can be sent. first is
// the time at which a follower's positions count.
func (f *fetching) read(first bool) (done bool) {
	total := 0
	for i, p := range f.parts {
		if p == nil {
			done = true
			continue
		}
		r := f.plan.Parts[i].ReadRequest
		r.MinOne = total == 0
		r.MaxBytes = max(0, min(r.MaxBytes, f.plan.MaxBytes-total))
		res, err := p.read(r, first)
		f.results[i] = FetchResult{res, err}
		total += len(res.Records)
		done = done || err != nil || res.Diverging != nil
	}
	return done || total >= f.plan.MinBytes
}
