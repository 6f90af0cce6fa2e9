package hashicorpraft

import (
	"math/bits"
	"sync"
	"time"
)

const (
	latencySlots   = 6
	latencySlot    = 10 * time.Second
	latencyBuckets = 64
)

// latency counts how long something took, over the last minute. A duration's
// bucket is right to a factor of 1.5.
type latency struct {
	mu    sync.Mutex
	slots [latencySlots]latencyCounts
	total uint64
}

type latencyCounts struct {
	since  time.Time
	counts [latencyBuckets]uint32
}

// bucketOf returns two buckets per power of two of microseconds.
func bucketOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 2))
	power := bits.Len64(us) - 1
	half := int(us>>(power-1)) & 1
	return min(2*power+half, latencyBuckets-1)
}

// bucketEnd is the longest duration of a bucket.
func bucketEnd(bucket int) time.Duration {
	power, half := bucket/2, bucket%2
	return time.Duration((uint64(1)<<power)+uint64(half+1)<<(power-1)) * time.Microsecond
}

func (l *latency) observe(d time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := &l.slots[now.UnixNano()/int64(latencySlot)%latencySlots]
	if now.Sub(slot.since) >= latencySlot {
		*slot = latencyCounts{since: now.Truncate(latencySlot)}
	}
	slot.counts[bucketOf(d)]++
	l.total++
}

// quantiles returns, for each of q, a duration that this part of the last
// minute's were no longer than; zeros if there were none.
func (l *latency) quantiles(now time.Time, q ...float64) (values []time.Duration, total uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var counts [latencyBuckets]uint64
	sum := uint64(0)
	for _, slot := range l.slots {
		if now.Sub(slot.since) >= latencySlots*latencySlot {
			continue
		}
		for i, n := range slot.counts {
			counts[i] += uint64(n)
			sum += uint64(n)
		}
	}
	values = make([]time.Duration, len(q))
	for i := range q {
		seen := uint64(0)
		for bucket, n := range counts {
			if seen += n; n > 0 && float64(seen) >= q[i]*float64(sum) {
				values[i] = bucketEnd(bucket)
				break
			}
		}
	}
	return values, l.total
}
