package server

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// memory is what requests and answers of one kind of listener may occupy: together
// Config.RequestMemory. It has three parts, so that heartbeats and the like do not wait
// for records, nor producers for consumers that do not read.
type memory struct {
	requests, records, answers *semaphore.Weighted
	requestsMax, recordsMax    int64 // bytes
	answersMax                 int64
}

// newMemory gives a half to the records of producers, a quarter to each of the others.
func newMemory(bytes int64) *memory {
	quarter := bytes / 4
	half := bytes - 2*quarter
	return &memory{
		requests: semaphore.NewWeighted(quarter), requestsMax: quarter,
		records: semaphore.NewWeighted(half), recordsMax: half,
		answers: semaphore.NewWeighted(quarter), answersMax: quarter,
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

// held is a buffer and what it weighs.
type held struct {
	buffer *buffer
	from   *semaphore.Weighted
	weight int64
}

// takeRecords takes memory for n bytes of records, and waits for it if it must.
func (m *memory) takeRecords(ctx context.Context, h *held, n int) error {
	weight := min(int64(bufferSize(n)), m.recordsMax)
	if err := m.records.Acquire(ctx, weight); err != nil {
		return err
	}
	*h = held{getBuffer(n), m.records, weight}
	return nil
}

// tryChunk takes memory for a chunk of an answer if there is any.
func (m *memory) tryChunk(h *held) bool {
	weight := int64(bufferSize(sendChunk))
	if !m.answers.TryAcquire(weight) {
		return false
	}
	*h = held{getBuffer(sendChunk), m.answers, weight}
	return true
}

// give gives back what was taken, if anything was.
func (h *held) give() {
	if h.buffer == nil {
		return
	}
	putBuffer(h.buffer)
	h.from.Release(h.weight)
	*h = held{}
}
