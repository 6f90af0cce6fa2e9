package wal

import (
	"errors"
	"fmt"
)

// maxCheckedEpochs is how many of the newest epochs an open compares with the log.
const maxCheckedEpochs = 64

// checkEpochs compares where leader epochs begin, which no checksum covers, with the
// batches there. A follower is told by them what to truncate.
func (l *Log) checkEpochs() error {
	all := l.epochs.all()
	v, end := l.view.Load(), l.end.Load()
	for i := len(all) - 1; i >= max(0, len(all)-maxCheckedEpochs); i-- {
		start, next := all[i].start, end
		if i < len(all)-1 {
			next = all[i+1].start
		}
		if first := l.start.Load(); start <= first {
			return l.checkEpoch(v, all[i], first, next) // of what is before the start nothing may be left
		}
		if err := l.checkEpoch(v, all[i], start, next); err != nil {
			return err
		}
		if err := l.checkEpoch(v, epochStart{epoch: l.epochs.at(start - 1)}, start-1, start); err != nil {
			return err
		}
	}
	return nil
}

// checkEpoch wants the batch that has offset at, or the first one after it if that is
// before offset next, to be of the epoch e.
func (l *Log) checkEpoch(v *view, e epochStart, at, next int64) error {
	if e.epoch < 0 {
		return nil
	}
	s := v.segments[v.covering(at)]
	sc := borrowScanner(s.file, 0, s.size.Load(), l.maxBatch)
	defer sc.release()
	b, pos, err := s.find(at, sc)
	if _, damaged := errors.AsType[*damage](err); damaged {
		return s.corrupt(err)
	}
	if err != nil || b == nil || b.BaseOffset() >= next || b.LeaderEpoch() == e.epoch {
		return err
	}
	return &CorruptError{File: l.path(epochsFile), Reason: fmt.Sprintf("it says that offset %d is of leader epoch %d, the batch at byte %d of %s says %d", at, e.epoch, pos, s.name, b.LeaderEpoch())}
}
