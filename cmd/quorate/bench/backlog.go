package bench

import (
	"context"
	"sync"
)

// backlog is the records that are due and not sent yet, by partition. Workers take
// for one broker at a time, the partition first that has waited for the longest.
type backlog struct {
	mu         sync.Mutex
	partitions []waiting
	homes      map[int32]*home // by broker
	size, max  int64
	roomy      *sync.Cond // size is below max
	closed     bool
}

// waiting is the records of one partition.
type waiting struct {
	indexes []int64
	head    int   // of indexes: what is before it was taken
	home    int32 // the broker whose workers take it
	queued  bool  // in its home's ready
}

// home is what waits for one broker.
type home struct {
	ready []int32 // partitions with records, each once
	wake  *sync.Cond
}

// portion is records of one partition.
type portion struct {
	partition int32
	indexes   []int64
}

func newBacklog(leaders []int32, brokers []int32, limit int64) *backlog {
	b := &backlog{partitions: make([]waiting, len(leaders)), homes: map[int32]*home{}, max: limit}
	b.roomy = sync.NewCond(&b.mu)
	for _, id := range brokers {
		b.homes[id] = &home{wake: sync.NewCond(&b.mu)}
	}
	b.rehome(leaders)
	return b
}

// rehome follows a change of leaders.
func (b *backlog) rehome(leaders []int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.homes {
		h.ready = h.ready[:0]
	}
	for p := range b.partitions {
		w := &b.partitions[p]
		if _, known := b.homes[leaders[p]]; known {
			w.home = leaders[p]
		} else if _, known := b.homes[w.home]; !known {
			for id := range b.homes { // of anybody: it is sent to whoever leads by then
				w.home = id
				break
			}
		}
		w.queued = false
		b.enqueue(int32(p))
	}
}

// enqueue has a partition's home look at it. The caller holds mu.
func (b *backlog) enqueue(p int32) {
	w := &b.partitions[p]
	if w.queued || w.head == len(w.indexes) {
		return
	}
	w.queued = true
	h := b.homes[w.home]
	h.ready = append(h.ready, p)
	h.wake.Signal()
}

// push adds the records [from, to) and returns how many did not fit.
func (b *backlog) push(from, to int64, partitionOf func(int64) int32) (dropped int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := b.max - b.size; to-from > room {
		dropped, to = to-from-room, from+room
	}
	for i := from; i < to; i++ {
		p := partitionOf(i)
		b.partitions[p].indexes = append(b.partitions[p].indexes, i)
		b.enqueue(p)
	}
	b.size += to - from
	return dropped
}

// awaitRoom waits until there is room for more.
func (b *backlog) awaitRoom(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.size >= b.max && ctx.Err() == nil {
		b.roomy.Wait()
	}
}

// take waits for records for a broker and returns up to perRequest of them, at most
// perBatch of a partition. It returns nothing if the backlog is closed and nothing
// is left.
func (b *backlog) take(broker int32, perRequest, perBatch int) []portion {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.homes[broker]
	for len(h.ready) == 0 {
		if b.closed && b.size == 0 {
			return nil
		}
		h.wake.Wait()
	}
	var out []portion
	left := perRequest
	for n := len(h.ready); n > 0 && left > 0; n-- {
		p := h.ready[0]
		h.ready = h.ready[1:]
		w := &b.partitions[p]
		w.queued = false
		count := min(len(w.indexes)-w.head, perBatch, left)
		out = append(out, portion{p, append([]int64(nil), w.indexes[w.head:w.head+count]...)})
		if w.head += count; w.head == len(w.indexes) {
			w.indexes, w.head = w.indexes[:0], 0
		}
		left -= count
		b.enqueue(p)
	}
	b.size -= int64(perRequest - left)
	b.roomy.Broadcast()
	if b.closed && b.size == 0 {
		b.wakeAll()
	}
	return out
}

// close says that nothing more is pushed.
func (b *backlog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.wakeAll()
}

// wakeAll lets everybody look again. The caller holds mu.
func (b *backlog) wakeAll() {
	b.roomy.Broadcast()
	for _, h := range b.homes {
		h.wake.Broadcast()
	}
}
