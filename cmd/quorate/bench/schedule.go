package bench

import (
	"context"
	"time"
)

// tick is the least time between two looks at the schedule. Records that fall due
// within one are handed over together.
const tick = 100 * time.Microsecond

// schedule is when records are due: record i at i/rate after the start.
type schedule struct {
	start time.Time
	rate  float64 // records per second
	count int64   // of all records
}

func (s schedule) due(i int64) time.Time {
	return s.start.Add(time.Duration(float64(i) / s.rate * float64(time.Second)))
}

// dueAt is how many records are due at a time.
func (s schedule) dueAt(now time.Time) int64 {
	return min(s.count, int64(now.Sub(s.start).Seconds()*s.rate)+1)
}

// run calls hand with each range [from, to) of records when it is due, until all
// were or ctx ends. It never waits for anything but time.
func (s schedule) run(ctx context.Context, hand func(from, to int64)) {
	p := newPacer()
	defer p.stop()
	for next := int64(0); next < s.count && ctx.Err() == nil; {
		now := time.Now()
		if n := s.dueAt(now); n > next {
			hand(next, n)
			next = n
		}
		until := s.due(next)
		if soonest := now.Add(tick); until.Before(soonest) {
			until = soonest
		}
		p.until(ctx, until)
	}
}
