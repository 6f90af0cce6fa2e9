package replica

import (
	"fmt"
	"time"
)

// apply brings the partition into line with an image. It tells if leadership of
// this broker began or ended, or goes on in a new epoch. Images come in order,
// so the epochs never go back.
func (p *Partition) apply(next *leadership, now time.Time) (leadershipChanged bool) {
	p.mu.Lock()
	prev := p.leadership.Load()
	newEpoch := prev == nil || prev.epoch != next.epoch
	p.reconfigure(prev, next)
	if err := p.enterEpoch(prev, next, newEpoch, now); err != nil {
		p.mu.Unlock()
		p.fail(err)
		return false
	}
	if next.mine {
		p.trackReplicas(next, now)
	}
	if newEpoch || prev.partitionEpoch != next.partitionEpoch {
		p.change = nil // whatever became of it, the image says so
	}
	p.leadership.Store(next)
	p.mu.Unlock()

	p.count(prev, next, newEpoch)
	if next.mine {
		p.m.syncs.add(p) // what was appended as follower and not synced
		p.advanceHighWatermark(now)
		p.proposeISR(now)
	}
	p.wakeAll()
	p.reportDurable() // a new configuration may have synced the log
	return newEpoch && (next.mine || prev != nil && prev.mine)
}

// enterEpoch fences appends of earlier epochs. A new leader has recorded where
// its epoch begins before anybody can see that it leads.
func (p *Partition) enterEpoch(prev, next *leadership, newEpoch bool, now time.Time) error {
	switch {
	case !newEpoch:
		next.epochStart = prev.epochStart
		return nil
	case !next.mine:
		p.followers, p.told = nil, -1
		p.wal.SetEpoch(next.epoch)
		return p.forgetEmptyEpoch()
	}
	if err := p.wal.StartEpoch(next.epoch); err != nil {
		return fmt.Errorf("begin leader epoch %d of %s: %w", next.epoch, p, err)
	}
	next.epochStart = p.wal.End()
	p.followers = newFollowers(next, now)
	return nil
}

// forgetEmptyEpoch drops an epoch that this broker began as leader and wrote
// nothing in. The next leader may have records of an epoch before it, at the same
// offsets, that it does not know to be late.
func (p *Partition) forgetEmptyEpoch() error {
	if p.wal.LatestEpoch() <= p.lastEpoch() {
		return nil
	}
	if err := p.wal.Truncate(p.wal.End()); err != nil {
		return fmt.Errorf("forget the empty leader epoch %d of %s: %w", p.wal.LatestEpoch(), p, err)
	}
	return nil
}

// count logs and counts what operators want to know.
func (p *Partition) count(prev, next *leadership, newEpoch bool) {
	switch {
	case newEpoch && next.mine:
		p.log.Info("became leader", "leader_epoch", next.epoch, "isr", next.isr, "epoch_start", next.epochStart, "high_watermark", p.highWatermark.Load())
	case newEpoch:
		p.log.Info("following", "leader", next.leader, "leader_epoch", next.epoch, "end", p.wal.End(), "high_watermark", p.highWatermark.Load())
	case next.mine && len(next.isr) < len(prev.isr):
		p.m.metrics.isrShrinks.Inc()
		p.log.Info("in-sync replicas shrank", "isr", next.isr, "before", prev.isr)
	case next.mine && len(next.isr) > len(prev.isr):
		p.m.metrics.isrExpands.Inc()
		p.log.Info("in-sync replicas grew", "isr", next.isr, "before", prev.isr)
	}
}

// reconfigure gives the log the topic's new configuration. One that the log
// refuses changes nothing.
func (p *Partition) reconfigure(prev, next *leadership) {
	if prev == nil || prev.settings.log == next.settings.log {
		return
	}
	if err := p.wal.Reconfigure(next.settings.log); err != nil {
		p.log.Error("log keeps its configuration", "error", err)
	}
}
