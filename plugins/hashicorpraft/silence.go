package hashicorpraft

import (
	"context"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// sayAgain is how long nothing is said of a peer that is silent again.
const sayAgain = time.Minute

// silence is what was said of a peer that does not answer: that it does not, and when
// it does again. One whose answers come and go is spoken of once in sayAgain.
type silence struct {
	since  time.Time // of the first request without an answer; zero: it answers
	said   time.Time // when its silence was last spoken of
	spoken bool      // of this silence
	missed int       // requests
}

// say takes note of the answer to a request to a peer, or of err, and logs what an
// operator should know.
func (p *peers) say(id raft.ServerID, err error) {
	p.mu.Lock()
	one := p.ofLocked(id)
	record := one.silence.note(err, time.Now())
	p.mu.Unlock() // nothing is written under it
	if record.message == "" {
		return
	}
	record.attrs = append(record.attrs, slog.Uint64("replica", replicaID(id)))
	p.log.LogAttrs(context.Background(), record.level, record.message, record.attrs...) //nolint:sloglint // one of two constants, see silence
}

// record is a line for the log; none without a message.
type record struct {
	level   slog.Level
	message string
	attrs   []slog.Attr
}

func (s *silence) note(err error, now time.Time) record {
	if err == nil {
		return s.end(now)
	}
	s.missed++
	if s.since.IsZero() {
		s.since = now
	}
	if s.spoken || now.Sub(s.said) < sayAgain {
		return record{}
	}
	s.spoken, s.said = true, now
	return record{slog.LevelWarn, "a peer does not answer", []slog.Attr{slog.Any("error", err)}}
}

func (s *silence) end(now time.Time) record {
	was := *s
	*s = silence{said: was.said}
	if !was.spoken {
		return record{}
	}
	return record{slog.LevelInfo, "a peer answers again", []slog.Attr{
		slog.Duration("silent_for", now.Sub(was.since).Round(time.Millisecond)), slog.Int("unanswered", was.missed),
	}}
}
