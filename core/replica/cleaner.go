package replica

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/quorate/quorate/core/wal"
)

// cleaner compacts the logs of topics with cleanup.policy compact, the dirtiest first.
// Every replica is compacted by its own broker, leader or not.
type cleaner struct {
	throttle throttle
}

// runCleaner is one thread of the cleaner.
func (m *Manager) runCleaner(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.CleanerBackoff)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for m.cleanRound(ctx) && ctx.Err() == nil {
			continue // a log may not have had room for all its keys, and others may be due by now
		}
	}
}

// dirtyLog is a partition that is worth a compaction.
type dirtyLog struct {
	p     *Partition
	ratio float64
}

// cleanRound compacts every log once that is due, and tells if that was of use.
func (m *Manager) cleanRound(ctx context.Context) (progress bool) {
	due, largest := m.dirtyLogs()
	m.metrics.cleaner.dirtiest.Set(largest)
	for _, d := range due {
		if ctx.Err() != nil || !d.p.cleaning.CompareAndSwap(false, true) {
			continue // another thread has it
		}
		progress = d.p.clean(ctx) || progress
		d.p.cleaning.Store(false)
	}
	return progress
}

// dirtyLogs returns the logs that are due, the dirtiest first, and the largest share of
// dirty bytes of any log.
func (m *Manager) dirtyLogs() (due []dirtyLog, largest float64) {
	for _, p := range *m.partitions.Load() {
		l := p.leadership.Load()
		if l == nil || !l.settings.compacts || p.failure.Load() != nil || p.uncleanable.Load() {
			continue
		}
		dirt, err := p.wal.Dirt(p.cleanPolicy(l.settings))
		if err != nil {
			p.cleanFailed(err)
			continue
		}
		largest = max(largest, dirt.Ratio())
		if dirt.Due {
			due = append(due, dirtyLog{p, dirt.Ratio()})
		}
	}
	slices.SortFunc(due, func(a, b dirtyLog) int { return cmp.Compare(b.ratio, a.ratio) })
	return due, largest
}

// cleanPolicy is what may be compacted: what the high watermark has passed.
func (p *Partition) cleanPolicy(s *settings) wal.CleanPolicy {
	return wal.CleanPolicy{
		UpTo:            p.highWatermark.Load(),
		MinDirtyRatio:   s.minDirtyRatio,
		MinLag:          s.minCompactionLag,
		MaxLag:          s.maxCompactionLag,
		DeleteRetention: s.deleteRetention,
		MapBytes:        p.m.cfg.CleanerBufferBytes / p.m.cfg.CleanerThreads,
		Throttle:        p.m.cleaner.throttle.wait,
	}
}

// clean compacts the log, and tells if that changed anything.
func (p *Partition) clean(ctx context.Context) (progress bool) {
	l := p.leadership.Load()
	if l == nil {
		return false
	}
	stats, err := p.wal.Clean(ctx, p.cleanPolicy(l.settings))
	ms := &p.m.metrics.cleaner
	ms.read.Add(float64(stats.BytesRead))
	ms.written.Add(float64(stats.BytesKept))
	ms.removed.Add(float64(stats.RecordsRead - stats.RecordsKept))
	if err != nil {
		if ctx.Err() == nil {
			p.cleanFailed(err)
		}
		return false
	}
	ms.runs.Inc()
	if stats.Segments > 0 {
		p.log.Info("compacted log", "clean_offset", stats.Clean, "segments", stats.Segments, "keys", stats.Keys,
			"records_before", stats.RecordsRead, "records_after", stats.RecordsKept,
			"bytes_before", stats.BytesRead, "bytes_after", stats.BytesKept, "took", stats.Took)
	}
	return stats.Segments > 0
}

// cleanFailed keeps a failed disk apart from a log that cannot be compacted. That one is
// set aside until the broker is started again: it serves reads and appends, and grows.
// One that found no room on the disk is tried again.
func (p *Partition) cleanFailed(err error) {
	switch {
	case errors.Is(err, wal.ErrClosed):
		return
	case errors.Is(err, wal.ErrFailed):
		_ = p.logError("compact", err) // it is the partition's from here on
		return
	}
	p.m.metrics.cleaner.failures.Inc()
	if errors.Is(err, syscall.ENOSPC) {
		p.log.Error("no space to compact the log: it is tried again", "error", err)
		return
	}
	if !p.uncleanable.Swap(true) {
		p.log.Error("log cannot be compacted and is set aside until the broker is started again; it grows meanwhile", "error", err)
	}
}

// throttle spreads bytes over time.
type throttle struct {
	perSecond int64 // bytes; 0: no limit

	mu   sync.Mutex
	next time.Time // when what was told so far is over
}

// wait counts bytes and waits until they are due, or ctx ends.
func (p *throttle) wait(ctx context.Context, bytes int) error {
	if p.perSecond <= 0 {
		return nil
	}
	now := time.Now()
	p.mu.Lock()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(bytes) / float64(p.perSecond) * float64(time.Second)))
	due := p.next
	p.mu.Unlock()
	timer := time.NewTimer(due.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
