package seglog

import (
	"sync"
	"time"
)

// SyncLatency sums up how long the syncs of the last minute took.
type SyncLatency struct {
	Count         uint64
	P50, P99, Max time.Duration // a percentile is the upper bound of its bucket, at most Max
}

const (
	latencySlots   = 6
	latencySlot    = 10 * time.Second
	latencyBuckets = 40
	latencyLowest  = 8 * time.Microsecond
)

// latencyLimit is the upper bound of bucket i: two buckets to an octave, from
// 8 µs to six seconds. The last bucket has none.
func latencyLimit(i int) time.Duration {
	limit := latencyLowest << (i / 2)
	if i%2 == 1 {
		limit += limit / 2
	}
	return limit
}

// latencies is a histogram of the last minute, in slots that are used in turn.
type latencies struct {
	mu    sync.Mutex
	slots [latencySlots]latencySlotCounts
}

type latencySlotCounts struct {
	number int64 // of the slot since the epoch
	counts [latencyBuckets]uint32
	max    time.Duration
}

func (l *latencies) add(now time.Time, took time.Duration) {
	bucket := 0
	for bucket < latencyBuckets-1 && took > latencyLimit(bucket) {
		bucket++
	}
	number := now.UnixNano() / int64(latencySlot)
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.slots[number%latencySlots]
	if s.number != number {
		*s = latencySlotCounts{number: number}
	}
	s.counts[bucket]++
	s.max = max(s.max, took)
}

func (l *latencies) summary(now time.Time) SyncLatency {
	number := now.UnixNano() / int64(latencySlot)
	var sum SyncLatency
	var counts [latencyBuckets]uint64
	l.mu.Lock()
	for i := range l.slots {
		s := &l.slots[i]
		if s.number <= number-latencySlots || s.number > number {
			continue
		}
		for b, n := range s.counts {
			counts[b] += uint64(n)
			sum.Count += uint64(n)
		}
		sum.Max = max(sum.Max, s.max)
	}
	l.mu.Unlock()
	sum.P50, sum.P99 = percentile(counts[:], sum, 50), percentile(counts[:], sum, 99)
	return sum
}

func percentile(counts []uint64, sum SyncLatency, percent uint64) time.Duration {
	rank, seen := (sum.Count*percent+99)/100, uint64(0)
	for i, n := range counts {
		if seen += n; seen >= rank && n > 0 && i < len(counts)-1 {
			return min(latencyLimit(i), sum.Max)
		}
	}
	return sum.Max
}

// SyncLatency returns how long the syncs of the last minute took. It takes no
// lock that is held during a write or a sync.
func (l *Log) SyncLatency() SyncLatency { return l.latencies.summary(time.Now()) }
