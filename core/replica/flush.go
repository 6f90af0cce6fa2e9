package replica

import (
	"context"
	"time"

	"github.com/quorate/quorate/core/wal"
)

// flushInterval is how often runFlush looks for logs that are due: flush.ms is as
// exact as this.
const flushInterval = 100 * time.Millisecond

// runFlush has logs synced whose appends are acknowledged from the page cache: after
// flush.ms, and when a segment is full, so that a start after a crash reads no more
// than one.
func (m *Manager) runFlush(ctx context.Context) error {
	tick := time.NewTicker(flushInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		for _, p := range *m.partitions.Load() {
			if p.flushDue(now) {
				m.syncs.add(p)
			}
		}
	}
}

// flushDue tells if the log is to be synced now. Only runFlush calls it.
func (p *Partition) flushDue(now time.Time) bool {
	l := p.leadership.Load()
	if l == nil || l.settings.log.Sync == wal.SyncAlways {
		return false
	}
	if p.wal.Durable() >= p.wal.End() {
		p.unflushed.since = time.Time{}
		return false
	}
	if p.unflushed.since.IsZero() {
		p.unflushed.since = now
	}
	base := p.wal.ActiveBase()
	rolled := l.settings.log.Sync == wal.SyncOS && base != p.unflushed.base
	if !rolled && now.Sub(p.unflushed.since) < l.settings.flushAfter {
		return false
	}
	p.unflushed = unflushed{since: now, base: base}
	return true
}

// unflushed is what runFlush remembers of a log.
type unflushed struct {
	since time.Time // when it was seen with something to sync; zero: it was not
	base  int64     // of the active segment at the last sync
}
