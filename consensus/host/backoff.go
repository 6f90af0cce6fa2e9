package host

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/quorate/quorate/consensus"
)

// backoff spaces restarts out, and decides when waiting for a lock has been
// long enough.
type backoff struct {
	limits  Supervision
	wait    time.Duration
	crashes []time.Time // of the last minute
	loop    bool        // there were too many of them, and no rest since
	locked  time.Time   // since when the data directory is another's
}

// lived tells how long an instance was up.
func (b *backoff) lived(d time.Duration) {
	if d >= b.limits.BackoffReset {
		b.wait, b.loop = 0, false
	}
	b.locked = time.Time{}
}

// note counts end, and makes it final if a lock has been waited for too long.
func (b *backoff) note(end *attemptError) *attemptError {
	now := time.Now()
	b.crashes = slices.DeleteFunc(b.crashes, func(t time.Time) bool { return now.Sub(t) > time.Minute })
	b.crashes = append(b.crashes, now)
	if len(b.crashes) > b.limits.CrashLimit {
		b.crashes = b.crashes[1:]
		b.wait, b.loop = b.limits.BackoffMax, true
	}
	if end.code != consensus.ExitLocked {
		b.locked = time.Time{}
		return end
	}
	if b.locked.IsZero() {
		b.locked = now
	}
	if now.Sub(b.locked) < b.limits.LockWait {
		return end
	}
	return finalError(consensus.ExitLocked, "%w: end that process, or give this broker another data directory", end.err)
}

// looping tells whether there were more crashes in a minute than the limit, and
// no instance has lived for long since.
func (b *backoff) looping() bool { return b.loop }

// next returns how long to wait now, with up to a fifth of jitter.
func (b *backoff) next() time.Duration {
	b.wait = min(max(2*b.wait, b.limits.BackoffMin), b.limits.BackoffMax)
	return b.wait + rand.N(b.wait/5+1)
}
