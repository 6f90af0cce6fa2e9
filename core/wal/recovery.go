package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/protocol/record"
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
		s := newSegment(l.fsys, l.files, l.dir, base)
		s.log = l.log
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
	if l.checkpoint.gaps && end < l.checkpoint.start && end >= max(l.checkpoint.recoveryPoint, l.point.known) {
		// A truncation or a reset of a log whose start lies in a gap was interrupted:
		// nothing that can be read is left.
		gone := segments
		segments = nil
		if err := errors.Join(l.removeFiles(gone), closeAll(gone)); err != nil {
			return err
		}
		l.redoTxns = noRedo()
		return l.create()
	}
	if known := l.knownEnd(); end < known {
		return &CorruptError{
			File: segments[len(segments)-1].name, Offset: segments[len(segments)-1].size.Load(),
			Reason: fmt.Sprintf("the log ends at offset %d, but had been on stable storage up to %d at least", end, known),
		}
	}
	if err := l.loadTxnIndexes(segments, end); err != nil {
		return err
	}
	l.view.Store(&view{segments})
	l.epochs.truncateEnd(end)
	l.epochs.truncateStart(l.checkpoint.start)
	l.publishBounds(max(l.checkpoint.start, segments[0].base), end)
	if err := l.checkEpochs(); err != nil {
		return err
	}
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
		end = marker.end
		if i < len(segments)-1 {
			end = segments[i+1].base
		}
		if err := l.resume(s, end); err != nil {
			return 0, err
		}
		s.sealedSynced, s.headSynced = i < len(segments)-1, true
	}
	return end, nil
}

// resume opens a segment that is complete on stable storage, and must end at offset
// end: it looks at its end only, unless an index cannot be used.
func (l *Log) resume(s *segment, wantEnd int64) error {
	usable, err := s.loadIndexes()
	if err != nil {
		return err
	}
	var end int64
	if usable {
		end, err = s.resume(l.maxBatch, l.now())
		usable = !errors.Is(err, errIndexDamaged)
	}
	if usable {
		s.trusted.Store(s.size.Load())
	} else {
		l.log.Warn("rebuilding index", "dir", l.dir, "base_offset", s.base)
		l.epochs.complete = true // what is complete on stable storage begins no epoch
		end, err = l.scan(s, s.base)
		l.epochs.complete = false
		err = errors.Join(err, s.flushIndexes(), s.offsets.sync(), s.times.sync())
	}
	if err != nil {
		return s.corrupt(err)
	}
	if end != wantEnd {
		return &CorruptError{File: s.name, Offset: s.size.Load(), Reason: fmt.Sprintf("the file ends with offset %d instead of %d, says what comes after it", end, wantEnd)}
	}
	return nil
}

// loadIndexes takes the indexes from their files; usable is false if they cannot
// belong to the segment and must be made anew.
func (s *segment) loadIndexes() (usable bool, err error) {
	for _, x := range []*index{s.offsets, s.times} {
		size, err := x.size()
		if err != nil {
			return false, err
		}
		if size%int64(x.width) != 0 {
			return false, nil
		}
		x.tail.Store(&indexTail{flushed: int(size / int64(x.width))})
		x.synced.Store(size / int64(x.width))
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

// knownEnd is the offset before which everything is known to have been durable.
func (l *Log) knownEnd() int64 {
	return max(l.checkpoint.recoveryPoint, l.checkpoint.start, l.point.known)
}

// scanAll reads the segments from the recovery point on; those before it are on
// stable storage and are opened as after a clean close (by a log without a committer
// they are read too). What is not in order before
// an offset that had been durable is damage. What follows may have been torn by the
// crash: the log ends at the first place that is not in order, and what comes after
// is dropped, since nobody was told of it.
func (l *Log) scanAll(segments []*segment) (kept []*segment, end int64, err error) {
	began := time.Now()
	end = segments[0].base
	trusted := max(l.checkpoint.recoveryPoint, l.point.segment)
	for i, s := range segments {
		var torn *damage
		next := end
		switch {
		case s.base != end:
			torn = &damage{0, fmt.Sprintf("the file before ends at offset %d", end)}
		case l.committer != nil && s.base < trusted && i < len(segments)-1:
			next = segments[i+1].base
			if err := l.resume(s, next); err != nil {
				return segments, 0, err
			}
			s.sealedSynced, s.headSynced = true, true
		default:
			next, err = l.scanFrom(s, end)
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
		if next < l.knownEnd() {
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
	// Nothing that the indexes said counts.
	s.indexDamaged.Store(false)
	s.maxTime.Store(record.NoTimestamp)
	s.maxTimeOffset, s.sinceIndex, s.born = 0, 0, time.Time{}
	s.trusted.Store(0)
	return l.walk(s, &scanner{file: s.file, limit: s.size.Load(), max: l.maxBatch, verify: true}, end)
}

// walk reads the batches of sc, the first of which must have offset end, and notes them.
func (l *Log) walk(s *segment, sc *scanner, end int64) (int64, error) {
	for {
		b, at, err := sc.next()
		if b == nil || err != nil {
			return end, err
		}
		if b.BaseOffset() < end || b.BaseOffset() > end && !l.checkpoint.gaps {
			return end, &damage{at, fmt.Sprintf("the batch begins at offset %d instead of %d", b.BaseOffset(), end)}
		}
		if known, ok := l.epochs.mustBe(b.BaseOffset()); ok && known != b.LeaderEpoch() {
			return end, &damage{at, fmt.Sprintf("the batch has leader epoch %d, "+epochsFile+" says %d", b.LeaderEpoch(), known)}
		}
		if at == 0 {
			s.setBorn(b, l.now())
		}
		if err := s.note(b, at, l.cfg.IndexIntervalBytes); err != nil {
			return end, err
		}
		if sc.verify && b.IsControl() && b.BaseOffset() >= l.checkpoint.start {
			l.redoTxns.marker = min(l.redoTxns.marker, b.BaseOffset())
		}
		l.epochs.assign(b.LeaderEpoch(), b.BaseOffset())
		end = b.LastOffset() + 1
	}
}

// scanFrom is scan, but reads only headers up to the recovery point.
func (l *Log) scanFrom(s *segment, end int64) (int64, error) {
	p := l.point
	if p.segment != s.base || p.position > s.size.Load() {
		l.redoTxns.from = min(l.redoTxns.from, s.base)
		return l.scan(s, end)
	}
	usable, err := s.loadIndexPrefix(p)
	if err != nil || !usable {
		l.redoTxns.from = min(l.redoTxns.from, s.base)
		return l.rescan(s, end, err)
	}
	l.redoTxns.from = min(l.redoTxns.from, p.offset)
	end, from, err := s.resumeAt(p, l.maxBatch)
	if errors.Is(err, errIndexDamaged) {
		return l.rescan(s, s.base, nil)
	}
	if err != nil {
		return end, err
	}
	s.trusted.Store(p.position)
	if end, err = l.walk(s, &scanner{file: s.file, pos: from, limit: p.position, max: l.maxBatch}, end); err != nil {
		return end, err
	}
	if s.born.IsZero() && p.position > 0 {
		s.bornOfFirst(l.maxBatch, l.now())
	}
	return l.walk(s, &scanner{file: s.file, pos: p.position, limit: s.size.Load(), max: l.maxBatch, verify: true}, end)
}

// rescan is scan after indexes turned out to be unusable.
func (l *Log) rescan(s *segment, end int64, err error) (int64, error) {
	if err != nil {
		return end, err
	}
	l.log.Warn("rebuilding index", "dir", l.dir, "base_offset", s.base)
	return l.scan(s, end)
}

// loadIndexPrefix takes from the index files the entries that were on stable storage;
// usable is false if they are not there.
func (s *segment) loadIndexPrefix(p point) (usable bool, err error) {
	for x, n := range map[*index]int{s.offsets: p.offsets, s.times: p.times} {
		size, err := x.size()
		if err != nil {
			return false, err
		}
		if size < int64(n*x.width) {
			return false, nil
		}
		if err := x.file.Truncate(int64(n * x.width)); err != nil {
			return false, err
		}
		x.tail.Store(&indexTail{flushed: n})
		x.synced.Store(int64(n))
		e, ok, err := x.lastEntry()
		if err != nil {
			return false, err
		}
		if ok && (int64(e.position) >= p.position || e.timestamp < 0) {
			return false, nil
		}
	}
	return true, nil
}

// resumeAt goes on behind the last index entries: it returns the place from which
// batches are to be noted, and the offset there.
func (s *segment) resumeAt(p point, maxBatch int) (end, from int64, err error) {
	e, ok, err := s.offsets.lastEntry()
	if err != nil || !ok {
		return s.base, 0, errors.Join(err, s.times.rewrite())
	}
	t, ok, err := s.times.lastEntry()
	if err != nil {
		return s.base, 0, err
	}
	if ok {
		s.maxTime.Store(t.timestamp)
		s.maxTimeOffset = s.base + int64(t.relative)
	}
	sc := &scanner{file: s.file, pos: int64(e.position), limit: p.position, max: maxBatch}
	b, _, err := sc.next()
	if !s.agrees(e, b, err) {
		return s.base, 0, errIndexDamaged
	}
	if err != nil {
		return s.base, 0, err
	}
	if ok && int64(t.relative) <= int64(e.relative) {
		if right, err := s.timeAgrees(t, p.position, maxBatch); err != nil || !right {
			return s.base, 0, errors.Join(err, errIndexDamaged)
		}
	}
	s.sinceIndex = int64(b.Size())
	s.noteMaxTime(b)
	return b.LastOffset() + 1, sc.pos, nil
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
		if s.sealedSynced {
			continue
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
	c := l.checkpoint
	c.start, c.recoveryPoint, c.clean = l.start.Load(), v.active().base, min(c.clean, l.end.Load())
	return l.saveCheckpoint(c)
}
