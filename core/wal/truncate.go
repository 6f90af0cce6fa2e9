package wal

import (
	"errors"
	"fmt"
	"slices"
)

// Truncate drops everything from offset to on, with the batch that holds to, and
// every leader epoch that began there; producer state goes back too. It returns
// when that is durable; End may then be below to, and Start goes back to End if it
// lay within that batch. An offset at End or beyond only drops epochs. Errors: ErrOffsetOutOfRange before Start, ErrFailed.
func (l *Log) Truncate(to int64) error {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	if to < l.start.Load() {
		return fmt.Errorf("%w: truncate to %d, the log starts at %d", ErrOffsetOutOfRange, to, l.start.Load())
	}
	if err := l.truncate(to); err != nil {
		return l.fail("truncate", err)
	}
	return nil
}

func (l *Log) truncate(to int64) error {
	if to >= l.end.Load() {
		l.epochs.truncateEnd(to)
		return l.saveEpochs()
	}
	old := l.view.Load()
	i := old.covering(to)
	active, begins, end, err := l.cutAt(old.segments[i], to)
	if err != nil {
		return err
	}
	if start := l.start.Load(); end < start {
		// Nothing that can be read remains. The start goes back if it lay within the batch
		// that goes, not if it lay in a gap.
		if begins <= to {
			start = min(start, begins)
		}
		return l.reset(start)
	}
	if err := l.uncommit(); err != nil {
		return err
	}
	c := l.checkpoint
	c.recoveryPoint, c.clean = min(c.recoveryPoint, active.base), min(c.clean, end)
	if err := l.beginShrink(c); err != nil {
		return err
	}
	from := l.end.Load()
	l.publishShrunk(&view{append(slices.Clone(old.segments[:i]), active)}, end)
	if err := errors.Join(l.removeFiles(old.segments[i+1:]), closeAll(old.segments[i+1:])); err != nil {
		return err
	}
	if err := active.cut(); err != nil {
		return err
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return err
	}
	l.epochs.truncateEnd(end)
	if err := l.saveEpochs(); err != nil {
		return err
	}
	l.log.Info("truncated log", "dir", l.dir, "from_offset", from, "to_offset", end)
	return l.recoverProducers(end)
}

// cutAt returns s ending before the batch that holds to, or the first one after it;
// the offset where that batch begins; and the end of what remains. In a log with gaps
// that may be before to.
func (l *Log) cutAt(s *segment, to int64) (cut *segment, begins, end int64, err error) {
	sc := borrowScanner(s.file, 0, s.size.Load(), l.maxBatch)
	defer sc.release()
	b, at, err := s.find(to, sc)
	if err != nil {
		return nil, 0, 0, s.corrupt(err)
	}
	if b == nil {
		return nil, 0, 0, fmt.Errorf("no batch at offset %d in %s", to, s.name)
	}
	begins = b.BaseOffset()
	cut, err = s.truncated(at, min(begins, to))
	if err != nil {
		return nil, 0, 0, err
	}
	end, err = cut.resume(l.maxBatch, l.now())
	if err == nil && end != begins && (end > begins || !l.checkpoint.gaps) {
		err = fmt.Errorf("batches before offset %d in %s end at %d", begins, s.name, end)
	}
	return cut, begins, end, err
}

// Reset drops everything and begins anew at offset start: a follower whose leader
// has nothing older. It returns when that is durable.
func (l *Log) Reset(start int64) error {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	if start < 0 {
		return fmt.Errorf("%w: reset to %d", ErrOffsetOutOfRange, start)
	}
	if err := l.reset(start); err != nil {
		return l.fail("reset", err)
	}
	return nil
}

func (l *Log) reset(start int64) error {
	// A crash on the way may leave some of it, and what goes first may hold the only
	// trace of a producer: see moveStart.
	if err := l.syncLocked(); err != nil {
		return err
	}
	if err := l.uncommit(); err != nil {
		return err
	}
	old := l.view.Load()
	from := l.end.Load()
	// Nothing can be said of what is durable until it is all gone: a crash on the
	// way leaves a shorter log.
	c := l.checkpoint
	c.recoveryPoint, c.clean = 0, 0
	if err := l.beginShrink(c); err != nil {
		return err
	}
	// What MoveStart has left goes first: without the segment that has the start, those
	// before it would look like a log that lost its end.
	first := old.covering(l.checkpoint.start)
	for _, s := range old.segments[:first] {
		if err := l.removeSegmentFiles(s.base); err != nil {
			return err
		}
	}
	if err := l.removeFiles(old.segments[first:]); err != nil {
		return err
	}
	if err := l.removeSnapshots(func(int64) bool { return true }); err != nil {
		return err
	}
	clear(l.producers.known)
	l.undecided.reset(nil)
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return err
	}
	l.epochs.publish(nil)
	if err := errors.Join(l.saveEpochs(), l.saveCheckpoint(checkpoint{start: start, recoveryPoint: start})); err != nil {
		return err
	}
	s, err := createSegment(l.fsys, l.files, l.dir, start)
	if err != nil {
		return err
	}
	s.headSynced = true
	l.gaps.Store(false)
	l.start.Store(start)
	l.publishShrunk(&view{[]*segment{s}}, start)
	l.durable.Store(start)
	l.flushed = start
	l.log.Info("reset log", "dir", l.dir, "from_offset", from, "start_offset", start)
	return errors.Join(l.fsys.SyncDir(l.dir), closeAll(old.segments))
}

// beginShrink makes it durable that the log may get shorter, before it does.
func (l *Log) beginShrink(c checkpoint) error {
	if err := l.unmark(); err != nil {
		return err
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return err
	}
	return l.saveCheckpoint(c)
}

// publishShrunk publishes a view that ends earlier. Readers of the old one notice
// that it is no longer there and begin again, so files are changed after this.
func (l *Log) publishShrunk(v *view, end int64) {
	l.shrinks++
	l.view.Store(v)
	l.end.Store(end)
	l.durable.Store(min(l.durable.Load(), end))
	l.flushed = min(l.flushed, end)
}

// removeFiles removes segments from the last to the first, so that a crash on the
// way leaves no hole. Readers who have them still can read them.
func (l *Log) removeFiles(segments []*segment) error {
	for _, s := range slices.Backward(segments) {
		if err := l.removeSegmentFiles(s.base); err != nil {
			return err
		}
	}
	return nil
}

// closeAll closes segments that are in no view any more.
func closeAll(segments []*segment) (err error) {
	for _, s := range segments {
		err = errors.Join(err, s.close())
	}
	return err
}
