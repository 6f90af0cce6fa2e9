package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
)

// recover opens the segments that begin at bases and brings the log into a state
// in which everything is consistent and durable. bases is not empty and covers
// the start.
func (l *Log) recover(bases []int64) (err error) {
	segments := make([]*segment, 0, len(bases))
	defer func() {
		if err != nil {
			for _, s := range segments {
				err = errors.Join(err, s.close())
			}
		}
	}()
	for _, base := range bases {
		s, err := newSegment(l.fsys, l.dir, base, false)
		if err != nil {
			return err
		}
		segments = append(segments, s)
		size, err := s.file.Size()
		if err != nil {
			return err
		}
		s.size.Store(size)
	}
	var end int64
	marker, ok := readCleanMarker(l.fsys, l.dir)
	active := segments[len(segments)-1]
	l.marked = ok && marker.activeBase == active.base && marker.activeSize == active.size.Load()
	if l.marked {
		end, err = l.resumeAll(segments, marker)
	} else {
		segments, end, err = l.scanAll(segments)
	}
	if err != nil {
		return err
	}
	if end < l.checkpoint.recoveryPoint || end < l.checkpoint.start {
		return &CorruptError{
			File: segments[len(segments)-1].name, Offset: segments[len(segments)-1].size.Load(),
			Reason: fmt.Sprintf("the log ends at offset %d, but had been on stable storage up to %d at least", end, max(l.checkpoint.recoveryPoint, l.checkpoint.start)),
		}
	}
	l.view.Store(&view{segments})
	l.epochs.truncateEnd(end)
	l.epochs.truncateStart(l.checkpoint.start)
	l.publishBounds(max(l.checkpoint.start, segments[0].base), end)
	if err := l.recoverProducers(end); err != nil {
		return err
	}
	if !l.marked {
		if err := l.settle(); err != nil {
			return err
		}
	}
	// Only now: what lies before the start may have held the only trace of a
	// producer, if the crash took the snapshot behind it.
	err = l.removeBefore(l.start.Load())
	segments = l.view.Load().segments
	return err
}

// resumeAll opens segments that were closed cleanly: it looks at their ends only.
func (l *Log) resumeAll(segments []*segment, marker cleanMarker) (end int64, err error) {
	for i, s := range segments {
		wantEnd := marker.end
		if i < len(segments)-1 {
			wantEnd = segments[i+1].base
		}
		usable, err := s.loadIndexes()
		if err != nil {
			return 0, err
		}
		if usable {
			end, err = s.resume(l.maxBatch, l.now())
		} else {
			l.log.Warn("rebuilding index", "dir", l.dir, "base_offset", s.base)
			end, err = l.scan(s, s.base)
			err = errors.Join(err, s.flushIndexes())
		}
		if err != nil {
			return 0, s.corrupt(err)
		}
		if end != wantEnd {
			return 0, &CorruptError{File: s.name, Offset: s.size.Load(), Reason: fmt.Sprintf("the file ends with offset %d instead of %d", end, wantEnd)}
		}
		s.sealedSynced, s.headSynced = i < len(segments)-1, true
	}
	return end, nil
}

// loadIndexes takes the indexes from their files; usable is false if they cannot
// belong to the segment and must be made anew.
func (s *segment) loadIndexes() (usable bool, err error) {
	for _, x := range []*index{s.offsets, s.times} {
		f, err := x.open()
		if err != nil {
			return false, err
		}
		size, err := f.Size()
		if err != nil {
			return false, err
		}
		if size%int64(x.width) != 0 {
			return false, nil
		}
		x.tail.Store(&indexTail{flushed: int(size / int64(x.width))})
		e, ok, err := x.lastEntry()
		if err != nil {
			return false, err
		}
		if ok && (int64(e.position) >= s.size.Load() || e.timestamp < 0) {
			return false, nil
		}
	}
	// A sealed segment with timestamps has a time index; only one that never had a
	// record, or none with a time, has not. Making it anew costs one reading.
	return s.times.count() > 0 || s.size.Load() == 0, nil
}

// scanAll reads all segments. Up to the recovery point all must be in order. What
// follows may have been torn by the crash: the log ends at the first place that is
// not in order, and what comes after is dropped, since nobody was told of it.
func (l *Log) scanAll(segments []*segment) (kept []*segment, end int64, err error) {
	began := time.Now()
	end = segments[0].base
	for i, s := range segments {
		var torn *damage
		next := end
		if s.base != end {
			torn = &damage{0, fmt.Sprintf("the file before ends at offset %d", end)}
		} else {
			next, err = l.scan(s, end)
			if d, ok := errors.AsType[*damage](err); ok {
				torn = d
			} else if err != nil {
				return segments, 0, err
			}
		}
		if torn == nil {
			end = next
			continue
		}
		if s.base < l.checkpoint.recoveryPoint {
			return segments, 0, s.corrupt(torn)
		}
		if segments, err = l.dropTorn(segments, i, next, torn); err != nil {
			return segments, 0, err
		}
		end = next
		break
	}
	l.log.Info("scanned log that was not closed cleanly", "dir", l.dir, "end_offset", end, "segments", len(segments), "took", time.Since(began))
	return segments, end, nil
}

// scan reads a segment with its CRCs and builds its indexes and the epochs. It
// returns the offset after the last batch that is in order, with a *damage if
// that is not the last.
func (l *Log) scan(s *segment, end int64) (int64, error) {
	if err := errors.Join(s.offsets.rewrite(), s.times.rewrite()); err != nil {
		return end, err
	}
	sc := &scanner{file: s.file, limit: s.size.Load(), max: l.maxBatch, verify: true}
	for {
		b, at, err := sc.next()
		if b == nil || err != nil {
			return end, err
		}
		if b.BaseOffset() != end {
			return end, &damage{at, fmt.Sprintf("the batch begins at offset %d instead of %d", b.BaseOffset(), end)}
		}
		if at == 0 {
			s.setBorn(b, l.now())
		}
		if err := s.note(b, at, l.cfg.IndexIntervalBytes); err != nil {
			return end, err
		}
		l.epochs.assign(b.LeaderEpoch(), b.BaseOffset())
		end = b.LastOffset() + 1
	}
}

// dropTorn makes the log end within segment i, where torn is, at offset end, and
// removes the segments after it, the last first. If i does not even begin at end
// it goes too.
func (l *Log) dropTorn(segments []*segment, i int, end int64, torn *damage) ([]*segment, error) {
	s := segments[i]
	dropped := s.size.Load() - torn.pos
	for _, later := range segments[i+1:] {
		dropped += later.size.Load()
	}
	l.log.Error("torn write at the end of the log: dropping what was never acknowledged as durable",
		"file", s.name, "position", torn.pos, "reason", torn.reason, "end_offset", end, "dropped_bytes", dropped)
	keep := i + 1
	if s.base != end && torn.pos == 0 {
		keep = i
	}
	for j := len(segments) - 1; j >= keep; j-- {
		if err := segments[j].close(); err != nil {
			return segments[:j], err
		}
		if err := l.removeSegmentFiles(segments[j].base); err != nil {
			return segments[:j], err
		}
	}
	segments = segments[:keep]
	if keep <= i {
		return segments, nil
	}
	s.size.Store(torn.pos)
	if torn.pos == 0 {
		s.born = time.Time{}
	}
	return segments, s.file.Truncate(torn.pos)
}

// settle makes durable what a recovery found and changed.
func (l *Log) settle() error {
	v := l.view.Load()
	for i, s := range v.segments {
		if i == len(v.segments)-1 {
			break
		}
		if err := errors.Join(s.flushIndexes(), s.sync()); err != nil {
			return err
		}
		s.sealedSynced = true
	}
	if err := v.active().file.Sync(); err != nil {
		return err
	}
	for _, offset := range l.snapshots {
		if err := l.syncSnapshot(offset); err != nil {
			return err
		}
	}
	for _, s := range v.segments {
		s.headSynced = true
	}
	if err := disk.RemoveIfThere(l.fsys, l.path(cleanFile)); err != nil {
		return err
	}
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return err
	}
	if err := l.saveEpochs(); err != nil {
		return err
	}
	return l.saveCheckpoint(checkpoint{start: l.start.Load(), recoveryPoint: v.active().base})
}
