package server

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// memory is what requests and answers of one kind of listener may occupy: together
// Config.RequestMemory. The records of producers and of consumers wait for each other
// in the larger part; heartbeats and the like, in the other part, do not wait for them.
type memory struct {
	requests, records       *semaphore.Weighted
	requestsMax, recordsMax int64 // bytes
}

func newMemory(bytes int64) *memory {
	small := bytes / 4
	return &memory{
		requests: semaphore.NewWeighted(small), requestsMax: small,
		records: semaphore.NewWeighted(bytes - small), recordsMax: bytes - small,
	}
}

// reserve takes a request's share and waits for it if it must. A request heavier than
// all there is takes it all and is alone.
func (m *memory) reserve(ctx context.Context, weight int64) (taken int64, err error) {
	taken = min(weight, m.requestsMax)
	if err := m.requests.Acquire(ctx, taken); err != nil {
		return 0, err
	}
	return taken, nil
}

// held is memory for records.
type held struct {
	buffer *buffer
	weight int64
}

// takeRecords takes memory for n bytes of records, and waits for it if it must.
func (m *memory) takeRecords(ctx context.Context, h *held, n int) error {
	weight := min(int64(bufferSize(n)), m.recordsMax)
	if err := m.records.Acquire(ctx, weight); err != nil {
		return err
	}
	h.buffer, h.weight = getBuffer(n), weight
	return nil
}

// tryRecords is takeRecords for those who can do with less.
func (m *memory) tryRecords(h *held, n int) bool {
	weight := int64(bufferSize(n))
	if !m.records.TryAcquire(weight) {
		return false
	}
	h.buffer, h.weight = getBuffer(n), weight
	return true
}

// giveRecords gives back what was taken, if anything was.
func (m *memory) giveRecords(h *held) {
	if h.buffer == nil {
		return
	}
	putBuffer(h.buffer)
	m.records.Release(h.weight)
	*h = held{}
}
