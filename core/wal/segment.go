package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// segment is a part of the log: one .log file and its indexes. The last one
// of a log is active and grows; the others are sealed and never change.
//
// What is atomic may be read by anybody; the rest belongs to whoever the comment says.
type segment struct {
	base    int64 // first offset
	name    string
	file    *filecache.File
	offsets *index
	times   *index
	txns    *txnIndex

	size    atomic.Int64 // bytes that are published
	trusted atomic.Int64 // position from which on this process wrote the bytes, or read them with their CRCs
	checked checked      // which of those before were read meanwhile
	maxTime atomic.Int64 // largest timestamp, or record.NoTimestamp

	indexDamaged atomic.Bool  // an entry is wrong: nothing is looked up any more
	log          *slog.Logger // nil if all of the segment is this process's

	// Under the log's mutex.
	maxTimeOffset int64     // last offset of the batch that has maxTime
	sinceIndex    int64     // bytes since the last entry of the offset index
	born          time.Time // when the first batch came; zero while there is none

	writing int64 // the disk was told to write what is before this position; of runWriteBack

	// The sync round's.
	sealedSynced bool // sealed, and file and indexes are on stable storage
	headSynced   bool // the producer snapshot at base is on stable storage
}

// newSegment returns a segment without entries in its indexes. Files are opened when
// they are used; files may be nil.
func newSegment(fsys FS, files *filecache.Cache, dir string, base int64) *segment {
	return newSegmentAs(fsys, files, dir, base, "")
}

// newSegmentAs is newSegment with a suffix behind the names of the files.
func newSegmentAs(fsys FS, files *filecache.Cache, dir string, base int64, suffix string) *segment {
	name := offsetName(dir, base, logSuffix) + suffix
	s := &segment{
		base: base, name: name, file: files.Lazy(fsys, name),
		offsets: newIndex(files.LazyCreate(fsys, offsetName(dir, base, indexSuffix)+suffix), offsetEntrySize, 0),
		times:   newIndex(files.LazyCreate(fsys, offsetName(dir, base, timeIndexSuffix)+suffix), timeEntrySize, 0),
		txns:    newTxnIndex(fsys, files, name),
	}
	s.maxTime.Store(record.NoTimestamp)
	return s
}

// createSegment is newSegment with a new .log file.
func createSegment(fsys FS, files *filecache.Cache, dir string, base int64) (*segment, error) {
	s := newSegment(fsys, files, dir, base)
	if err := s.file.Create(); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	return s, nil
}

// note records that batch b lies at position at: indexes and the largest timestamp.
func (s *segment) note(b record.Batch, at int64, indexInterval int) error {
	last := b.LastOffset()
	s.noteMaxTime(b)
	if s.sinceIndex > int64(indexInterval) {
		if err := s.offsets.appendOffset(last-s.base, at); err != nil {
			return err
		}
		if err := s.noteTime(); err != nil {
			return err
		}
		s.sinceIndex = 0
	}
	s.sinceIndex += int64(b.Size())
	return nil
}

// noteMaxTime keeps the largest timestamp. A batch that compaction has left empty has
// a timestamp and no record with it.
func (s *segment) noteMaxTime(b record.Batch) {
	if t := b.MaxTimestamp(); t > s.maxTime.Load() && b.Count() > 0 {
		s.maxTimeOffset = b.LastOffset()
		s.maxTime.Store(t)
	}
}

// noteTime adds the largest timestamp to the time index, if it is not there yet.
func (s *segment) noteTime() error {
	t := s.maxTime.Load()
	if t < 0 {
		return nil
	}
	e, ok, err := s.times.lastEntry()
	if err != nil || ok && e.timestamp >= t {
		return err
	}
	return s.times.appendTime(t, s.maxTimeOffset-s.base)
}

// flushIndexes writes both indexes to their files; the time index then ends with
// the largest timestamp.
func (s *segment) flushIndexes() error {
	if err := s.noteTime(); err != nil {
		return err
	}
	return errors.Join(s.offsets.flush(), s.times.flush())
}

// sync makes a sealed segment durable.
func (s *segment) sync() error {
	return errors.Join(s.file.Sync(), s.offsets.sync(), s.times.sync(), s.txns.sync())
}

func (s *segment) close() error {
	return errors.Join(s.file.Close(), s.offsets.close(), s.times.close(), s.txns.close())
}

// find returns the batch with offset, or the first one after it: its header, valid
// until the scanner moves, and its position. A nil batch
// means that the segment ends before offset.
func (s *segment) find(offset int64, sc *scanner) (batch record.Batch, at int64, err error) {
	e, err := s.lookup(func(e indexEntry) bool { return s.base+int64(e.relative) > offset })
	if err != nil {
		return nil, 0, err
	}
	if sc.pos = int64(e.position); sc.pos > sc.limit {
		e, sc.pos = indexEntry{}, 0 // an entry of an append that was not published when the limit was taken
	}
	last := s.base - 1
	for {
		batch, at, err = sc.next()
		if e.position > 0 && !s.agrees(e, batch, err) {
			s.distrustIndex()
			e, sc.pos = indexEntry{}, 0
			continue
		}
		e = indexEntry{}
		if err != nil || batch == nil {
			return batch, at, err
		}
		if there := s.trusted.Load(); at < there && at+int64(batch.Size()) > there {
			return nil, 0, &damage{at, fmt.Sprintf("the batch has %d bytes and ends within one that was written later", batch.Size())}
		}
		if batch.BaseOffset() <= last {
			return nil, 0, &damage{at, fmt.Sprintf("the batch begins at offset %d, the one before ends with %d", batch.BaseOffset(), last)}
		}
		if last = batch.LastOffset(); last >= offset {
			return batch, at, nil
		}
	}
}

// truncated returns the segment as if it ended at position size, where offset end
// would come next. It shares the files with s, which stay as they are until cut.
func (s *segment) truncated(size, end int64) (*segment, error) {
	beyond := func(e indexEntry) bool { return s.base+int64(e.relative) >= end }
	offsets, _, err := s.offsets.search(beyond)
	if err != nil {
		return nil, err
	}
	times, _, err := s.times.search(beyond)
	if err != nil {
		return nil, err
	}
	txns, err := s.txns.truncated(end)
	if err != nil {
		return nil, err
	}
	c := &segment{
		base: s.base, name: s.name, file: s.file, headSynced: s.headSynced, born: s.born,
		offsets: s.offsets.truncated(offsets), times: s.times.truncated(times), txns: txns,
	}
	c.size.Store(size)
	c.trusted.Store(min(s.trusted.Load(), size))
	c.log = s.log
	c.indexDamaged.Store(s.indexDamaged.Load())
	c.maxTime.Store(record.NoTimestamp)
	return c, nil
}

// cut shortens the files to what the segment says, durably.
func (s *segment) cut() error {
	if err := errors.Join(s.file.Truncate(s.size.Load()), s.offsets.cut(), s.times.cut(), s.txns.cut()); err != nil {
		return err
	}
	return s.file.Sync()
}

// resume reads what lies behind the last index entries, so that appends can go
// on: the largest timestamp, the bytes since the last entry, the age. It returns
// the offset after the last batch.
func (s *segment) resume(maxBatch int, now time.Time) (end int64, err error) {
	e, _, err := s.offsets.lastEntry()
	if err != nil {
		return 0, err
	}
	t, ok, err := s.times.lastEntry()
	if err != nil {
		return 0, err
	}
	if ok {
		s.maxTime.Store(t.timestamp)
		s.maxTimeOffset = s.base + int64(t.relative)
	}
	sc := borrowScanner(s.file, int64(e.position), s.size.Load(), maxBatch)
	defer sc.release()
	end = s.base
	for {
		b, at, err := sc.next()
		if e.position > 0 && end == s.base && !s.agrees(e, b, err) {
			return 0, errIndexDamaged
		}
		if err != nil {
			return 0, err
		}
		if b != nil && b.BaseOffset() < end {
			return 0, &damage{at, fmt.Sprintf("the batch begins at offset %d, the one before ends with %d", b.BaseOffset(), end-1)}
		}
		if b == nil {
			s.sinceIndex = sc.pos - int64(e.position)
			break
		}
		end = b.LastOffset() + 1
		s.noteMaxTime(b)
		if at == 0 {
			s.setBorn(b, now)
		}
	}
	if s.born.IsZero() && s.size.Load() > 0 {
		s.bornOfFirst(maxBatch, now)
	}
	if ok && int64(t.relative) < end-s.base {
		right, err := s.timeAgrees(t, s.size.Load(), maxBatch)
		if err == nil && !right {
			err = errIndexDamaged
		}
		return end, err
	}
	return end, nil
}

// errIndexDamaged says that an index has to be made anew.
var errIndexDamaged = errors.New("index is damaged")

// bornOfFirst reads the first batch for the age of the segment.
func (s *segment) bornOfFirst(maxBatch int, now time.Time) {
	s.born = now
	sc := borrowScanner(s.file, 0, s.size.Load(), maxBatch)
	defer sc.release()
	if b, _, err := sc.next(); err == nil && b != nil {
		s.setBorn(b, now)
	}
}

// setBorn takes the age of a segment from its first batch.
func (s *segment) setBorn(first record.Batch, now time.Time) {
	s.born = now
	if ts := first.MaxTimestamp(); ts >= 0 && ts < now.UnixMilli() {
		s.born = time.UnixMilli(ts)
	}
}
