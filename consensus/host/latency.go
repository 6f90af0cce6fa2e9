package host

import (
	"math/bits"
	"sync"
	"time"
)

// latency keeps how long commits took: in a window that is being filled, and in
// the one before it.
type latency struct {
	mu                sync.Mutex
	current, previous histogram
}

func newLatency() *latency { return &latency{} }

func (l *latency) record(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current.add(d)
}

// rotate begins a new window and returns the one that is full.
func (l *latency) rotate() histogram {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.previous, l.current = l.current, histogram{}
	return l.previous
}

// quantiles returns the median and the 99th percentile of both windows.
func (l *latency) quantiles() (p50, p99 time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	both := l.current
	for i, n := range l.previous {
		both[i] += n
	}
	return both.quantile(50), both.quantile(99)
}

// histogram counts durations; bucket i holds those of up to upper(i). There are
// four buckets to each doubling, from 16 µs to hours.
type histogram [128]uint64

const (
	steps    = 4 // buckets per doubling
	smallest = 4 // bits of the microseconds that the first bucket holds
)

func (h *histogram) add(d time.Duration) {
	us := uint64(max(d.Microseconds(), 1<<smallest))
	exponent := bits.Len64(us) - 1
	fraction := (us - 1<<exponent) * steps >> exponent
	h[min((exponent-smallest)*steps+int(fraction), len(h)-1)]++
}

// upper is the end of bucket i.
func upper(i int) time.Duration {
	base := uint64(1) << (i/steps + smallest)
	return time.Duration(base+base*uint64(i%steps+1)/steps) * time.Microsecond
}

func (h *histogram) total() (n uint64) {
	for _, c := range h {
		n += c
	}
	return n
}

// quantile returns what percent of the durations do not exceed; 0 if there are none.
func (h *histogram) quantile(percent uint64) time.Duration {
	rank := (h.total()*percent + 99) / 100
	if rank == 0 {
		return 0
	}
	for i, n := range h {
		if n >= rank {
			return upper(i)
		}
		rank -= n
	}
	return upper(len(h) - 1)
}
