package server

import (
	"log/slog"
	"sync"
	"time"
)

// quiet logs what peers do wrong without letting them fill the disk: a line for each
// subject every quietPeriod, with the number of those left out.
type quiet struct {
	log *slog.Logger

	mu       sync.Mutex
	subjects map[string]*silence
}

// silence is one subject that was logged a short while ago.
type silence struct {
	until   time.Time
	dropped int
}

const (
	quietPeriod = 10 * time.Second
	// quietSubjects bounds the memory; above it the subjects share one line.
	quietSubjects = 1024
)

func newQuiet(log *slog.Logger) *quiet {
	return &quiet{log: log, subjects: make(map[string]*silence)}
}

// allow returns the logger for a line about subject, or false if there was one within
// quietPeriod.
func (q *quiet) allow(subject string) (*slog.Logger, bool) {
	dropped, ok := q.pass(subject, time.Now())
	if dropped > 0 {
		return q.log.With("suppressed", dropped), ok
	}
	return q.log, ok
}

// pass says whether a line about subject may be written now, and how many were not
// since the last one.
func (q *quiet) pass(subject string, now time.Time) (dropped int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.subjects[subject]
	if s == nil && len(q.subjects) >= quietSubjects {
		q.sweep(now)
		if len(q.subjects) >= quietSubjects {
			subject = ""
			s = q.subjects[subject]
		}
	}
	if s == nil {
		q.subjects[subject] = &silence{until: now.Add(quietPeriod)}
		return 0, true
	}
	if now.Before(s.until) {
		s.dropped++
		return 0, false
	}
	dropped, s.dropped, s.until = s.dropped, 0, now.Add(quietPeriod)
	return dropped, true
}

// sweep forgets the subjects whose silence is over.
func (q *quiet) sweep(now time.Time) {
	for subject, s := range q.subjects {
		if !now.Before(s.until) {
			delete(q.subjects, subject)
		}
	}
}
