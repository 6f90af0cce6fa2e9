package wal

import "context"

// MoveStart is SetStart, but leaves the files of the segments before the start, which
// nobody can read any more, to RemoveBelowStart, or to the next Open.
func (l *Log) MoveStart(offset int64) error {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if moves, err := l.movesStart(offset); err != nil || !moves {
		return err
	}
	if err := l.syncLocked(); err != nil { // see moveStart
		return err
	}
	c := l.checkpoint
	c.start = offset
	if err := l.saveCheckpoint(c); err != nil {
		return l.fail("move log start", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start.Store(offset)
	l.epochs.truncateStart(offset)
	return nil
}

// RemoveBelowStart deletes the files of segments that lie before the start.
func (l *Log) RemoveBelowStart(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	segments, start := l.view.Load().segments, l.start.Load()
	if len(segments) == 1 || segments[1].base > start {
		return nil
	}
	// The segment that is the first then may have begun since MoveStart: see moveStart.
	if err := l.syncLocked(); err != nil {
		return err
	}
	if err := l.removeBefore(start); err != nil {
		return l.fail("delete old segments", err)
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return l.fail("delete old segments", err)
	}
	return nil
}
