package wal

import "context"

// Appends leave pages behind that the kernel writes when it likes. If that is left to
// checkpoints, seconds of them go to the disk at once, and the commit log's syncs wait at
// the device behind them: so the disk gets them while they are few, and a checkpoint, if
// the ring has room, takes its time.
const (
	// writeBackBytes is how much a log grows until it is written. Less would be many small
	// writes; what is below it is left to checkpoints.
	writeBackBytes = 256 << 10
	// writeBackStep is how much all logs grow until it is seen which of them to write.
	writeBackStep = 4 << 20
	// writeBackAlign keeps the last page, which is about to be written again, out of it.
	writeBackAlign = 4 << 10
)

// runWriteBack begins to write what logs have grown by. It promises nothing: what fails
// is told by the sync that follows. A system that does not have the call goes without.
func (c *Committer) runWriteBack(ctx context.Context) {
	var logs []*Log
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wantWriteBack:
		}
		c.mu.Lock()
		logs = append(logs[:0], c.dirty...)
		c.mu.Unlock()
		for _, l := range logs {
			if err := l.startWriteBack(); err != nil {
				c.log.Warn("the disk is not written to ahead of checkpoints: latencies will have peaks", "dir", l.dir, "error", err)
				return
			}
		}
		clear(logs)
	}
}

// startWriteBack begins to write what the active segment has grown by, if that is enough.
// It belongs to runWriteBack.
func (l *Log) startWriteBack() error {
	s := l.view.Load().active()
	to := s.size.Load() &^ (writeBackAlign - 1)
	from := s.writing
	if to-from < writeBackBytes {
		return nil
	}
	s.writing = to
	return s.file.StartWrite(from, to-from)
}
