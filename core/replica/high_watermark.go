package replica

import (
	"slices"
	"time"
)

// advanceHighWatermark moves the leader's high watermark to the smallest durable
// end of the ISR, and wakes who waits for it. It never goes back, and stays while
// the ISR is smaller than min.insync.replicas.
func (p *Partition) advanceHighWatermark(now time.Time) {
	p.mu.Lock()
	l := p.leadership.Load()
	if l == nil || !l.mine || l.underMinISR() {
		p.mu.Unlock()
		return
	}
	mark := p.replicated(l, now)
	moved := mark > p.highWatermark.Load()
	if moved {
		p.highWatermark.Store(mark)
		p.wal.LastStable(mark) // forgets the transactions that it decides
	}
	p.mu.Unlock()
	if moved {
		p.marks.reached(mark)
	}
}

// replicated is the offset up to which every member of the ISR has made the log
// safe: durable, unless the topic trusts the page cache. Partition.mu is held.
//
// The ISR is the largest one that may be in force: a follower whose joining is
// under way counts, because the controller may elect it before this broker
// hears that it joined; one whose leaving is under way counts until it has left.
// A follower that keeps up counts as well, or it could chase the mark for ever
// without reaching it, which is what it has to do to join.
func (p *Partition) replicated(l *leadership, now time.Time) int64 {
	mark, end := p.wal.Safe(), p.wal.End()
	held := false
	for id, f := range p.followers {
		safe := f.safe(l)
		if safe >= mark {
			continue
		}
		joining := p.change != nil && slices.Contains(p.change.isr, id)
		switch {
		case l.inISR(id) || joining:
			mark = safe
		case p.keepsUp(l, id, f, end, now):
			mark, held = safe, true
		}
	}
	p.held.Store(held)
	return mark
}

// keepsUp tells if a follower outside of the ISR is about to join: it lacks nothing
// for long, and is not silent. Partition.mu is held.
func (p *Partition) keepsUp(l *leadership, id int32, f *follower, end int64, now time.Time) bool {
	return p.eligible(id, f) && now.Sub(f.lastFetch) <= p.m.cfg.silentAfter() &&
		f.caughtUp(l, end, now, p.m.cfg.ReplicaLagTimeMax)
}

// releaseMarks moves the high watermarks that wait for followers outside of their ISR,
// if those have gone silent or are fenced.
func (m *Manager) releaseMarks(now time.Time) {
	for _, p := range *m.partitions.Load() {
		if p.held.Load() {
			p.advanceHighWatermark(now)
		}
	}
}

// followMark takes a follower's high watermark from its leader, capped by what
// this broker has itself. Partition.mu is held.
func (p *Partition) followMark(leaders int64) (moved int64) {
	p.told = max(p.told, leaders)
	mark := min(p.told, p.wal.Safe())
	if mark <= p.highWatermark.Load() {
		return -1
	}
	p.highWatermark.Store(mark)
	p.wal.LastStable(mark)
	return mark
}

// raiseMark moves a follower's high watermark towards what its leader has said, after
// more of the log has become safe.
func (p *Partition) raiseMark() {
	p.mu.Lock()
	mark := int64(-1)
	if l := p.leadership.Load(); l != nil && !l.mine {
		mark = p.followMark(p.told)
	}
	p.mu.Unlock()
	if mark >= 0 {
		p.marks.reached(mark)
	}
}

// restoreMark takes the high watermark from a checkpoint, within what the log has.
func (p *Partition) restoreMark(checkpointed int64) {
	p.highWatermark.Store(max(p.wal.Start(), min(checkpointed, p.wal.Durable())))
}
