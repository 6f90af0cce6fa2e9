package replica

import (
	"sync"
	"time"
)

// syncTimes remembers when the log became durable up to where, for the last few times:
// an acknowledgement that waited for followers, too, comes a little later.
type syncTimes struct {
	mu   sync.Mutex
	last []syncTime // nil until there is one
	next int
}

// syncTimesKept is how many are remembered.
const syncTimesKept = 8

type syncTime struct {
	end int64
	at  time.Time
}

// note records that everything before end is durable.
func (s *syncTimes) note(end int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil { // most partitions of a broker with many are idle
		s.last = make([]syncTime, syncTimesKept)
	}
	s.last[s.next] = syncTime{end, now}
	s.next = (s.next + 1) % len(s.last)
}

// at returns when end became durable, as far as is remembered: zero if it is not, or
// was long ago.
func (s *syncTimes) at(end int64) (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.last {
		if t.end >= end && (at.IsZero() || t.at.Before(at)) {
			at = t.at
		}
	}
	return at
}
