package wal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// RetentionPolicy says what Retain may delete.
type RetentionPolicy struct {
	// MaxAge is how long records are kept after the largest timestamp of their
	// segment. 0 or less means for ever. Kafka: retention.ms.
	MaxAge time.Duration
	// MaxBytes is the size above which the oldest segments go, as long as no less
	// than that remains. 0 or less means no limit. Kafka: retention.bytes.
	MaxBytes int64
	// UpTo is the high watermark: no record at or after it goes.
	UpTo int64
}

// Retain deletes the oldest segments that p does not keep, and forgets producers
// that wrote nothing for too long. Only whole sealed segments go; an active one
// all of whose records are too old is sealed first. It returns how many segments
// went; Start is then durable behind them.
func (l *Log) Retain(ctx context.Context, p RetentionPolicy) (deleted int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if err := l.prepareRetention(p); err != nil {
		return 0, err
	}
	segments := l.view.Load().segments
	n := l.expired(segments, p)
	if n == 0 {
		return 0, nil
	}
	if err := l.moveStart(segments[n].base); err != nil {
		return 0, l.fail("delete old segments", err)
	}
	return n, nil
}

// prepareRetention expires producers, and rolls the active segment if all of it is too old.
func (l *Log) prepareRetention(p RetentionPolicy) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	l.producers.expire(l.now())
	active := l.view.Load().active()
	if active.size.Load() == 0 || l.end.Load() > p.UpTo || !l.tooOld(active, p) {
		return nil
	}
	if err := l.unmark(); err != nil {
		return l.fail("remove clean-shutdown marker", err)
	}
	if err := l.roll(); err != nil {
		return l.fail("roll segment", err)
	}
	return nil
}

// expired is how many of the first segments go. The active one never does.
func (l *Log) expired(segments []*segment, p RetentionPolicy) (n int) {
	var total int64
	for _, s := range segments {
		total += s.size.Load()
	}
	for n < len(segments)-1 && segments[n+1].base <= p.UpTo {
		size := segments[n].size.Load()
		if !l.tooOld(segments[n], p) && (p.MaxBytes <= 0 || total-size < p.MaxBytes) {
			break
		}
		total -= size
		n++
	}
	return n
}

func (l *Log) tooOld(s *segment, p RetentionPolicy) bool {
	newest := s.maxTime.Load()
	return p.MaxAge > 0 && newest >= 0 && l.now().Sub(time.UnixMilli(newest)) > p.MaxAge
}

// movesStart tells if the log may begin at offset, and did not yet. The caller holds roundMu.
func (l *Log) movesStart(offset int64) (bool, error) {
	if err := l.Err(); err != nil {
		return false, err
	}
	if end := l.end.Load(); offset > end {
		return false, fmt.Errorf("%w: start at %d, the log ends at %d", ErrOffsetOutOfRange, offset, end)
	}
	return offset > l.start.Load(), nil
}

// SetStart makes offset the first that can be read, durably, and deletes the
// segments that lie before it. It never goes back: an offset at Start or before
// changes nothing. After End it is ErrOffsetOutOfRange.
func (l *Log) SetStart(offset int64) error {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if moves, err := l.movesStart(offset); err != nil || !moves {
		return err
	}
	if err := l.moveStart(offset); err != nil {
		return l.fail("move log start", err)
	}
	return nil
}

// moveStart moves the start to offset. The caller holds roundMu, so the log cannot
// get shorter meanwhile.
func (l *Log) moveStart(offset int64) error {
	// What goes may hold the only trace of a producer: the snapshots behind it must
	// be durable first. And the start must not be behind what is durable.
	if err := l.syncLocked(); err != nil {
		return err
	}
	c := l.checkpoint
	c.start = max(offset, l.start.Load())
	if err := l.saveCheckpoint(c); err != nil {
		return err
	}
	if err := l.removeBefore(c.start); err != nil {
		return err
	}
	return l.fsys.SyncDir(l.dir)
}

// removeBefore makes start the log's, which is in the checkpoint already, and
// removes the segments before it, the first one first.
func (l *Log) removeBefore(start int64) error {
	gone, err := l.dropBefore(start)
	if err != nil {
		return err
	}
	for _, s := range gone {
		if err := errors.Join(l.removeSegmentFiles(s.base), s.close()); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		l.log.Info("deleted old segments", "dir", l.dir, "segments", len(gone), "start_offset", start)
	}
	return nil
}

// dropBefore publishes the new start and takes the segments before it out of the
// view; their files are the caller's to remove.
func (l *Log) dropBefore(start int64) (gone []*segment, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	segments := l.view.Load().segments
	n := 0
	for n < len(segments)-1 && segments[n+1].base <= start {
		n++
	}
	l.start.Store(start)
	if n > 0 {
		l.view.Store(&view{slices.Clone(segments[n:])})
	}
	l.epochs.truncateStart(start)
	first := segments[n].base
	return segments[:n], l.removeSnapshots(func(offset int64) bool { return offset < first })
}
