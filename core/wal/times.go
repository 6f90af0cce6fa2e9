package wal

import (
	"errors"
	"fmt"
	"io"

	"github.com/quorate/quorate/protocol/record"
)

// OffsetForTime returns the first record whose timestamp is ts (milliseconds) or
// later, and its leader epoch. found is false if there is none. It decompresses
// one batch, within record.DefaultDecompressLimits.
func (l *Log) OffsetForTime(ts int64) (offset, timestamp int64, epoch int32, found bool, err error) {
	err = l.stable(func(v *view) error {
		offset, timestamp, epoch, found = -1, record.NoTimestamp, -1, false
		for _, s := range v.segments {
			if s.maxTime.Load() < ts {
				continue
			}
			var err error
			offset, timestamp, epoch, found, err = s.offsetForTime(ts, l.start.Load(), l.end.Load(), l.maxBatch)
			if err != nil || found {
				return s.corrupt(err)
			}
		}
		return nil
	})
	return offset, timestamp, epoch, found, err
}

// MaxTimestamp returns the first record with the largest timestamp of the log.
// found is false if no record has one.
func (l *Log) MaxTimestamp() (offset, timestamp int64, epoch int32, found bool, err error) {
	largest := record.NoTimestamp
	for _, s := range l.view.Load().segments {
		largest = max(largest, s.maxTime.Load())
	}
	if largest < 0 {
		return -1, record.NoTimestamp, -1, false, nil
	}
	return l.OffsetForTime(largest)
}

// offsetForTime returns the first record between start and end whose timestamp is ts
// or later, and its leader epoch.
func (s *segment) offsetForTime(ts, start, end int64, maxBatch int) (offset, timestamp int64, epoch int32, found bool, err error) {
	offset, timestamp, epoch = -1, record.NoTimestamp, -1
	// Everything up to the last entry below ts is too old.
	var t indexEntry
	if !s.indexDamaged.Load() {
		t, err = s.times.last(func(e indexEntry) bool { return e.timestamp >= ts })
	}
	if err == nil && t != (indexEntry{}) && s.trusted.Load() > 0 && s.base+int64(t.relative) > start {
		var right bool
		if right, err = s.timeAgrees(t, s.size.Load(), maxBatch); !right {
			s.distrustIndex()
			t = indexEntry{}
		}
	}
	if err != nil {
		return offset, timestamp, epoch, false, err
	}
	sc := borrowScanner(s.file, 0, s.size.Load(), maxBatch)
	defer sc.release()
	from := max(start, s.base+int64(t.relative))
	b, at, err := s.find(from, sc)
	for ; err == nil && b != nil; b, at, err = sc.next() {
		if b.BaseOffset() >= end {
			break
		}
		// A batch without records, or with none from start on, has a timestamp all the same.
		if b.MaxTimestamp() < ts || b.Count() == 0 {
			continue
		}
		whole := make(record.Batch, b.Size())
		if _, err := io.ReadFull(io.NewSectionReader(s.file, at, int64(len(whole))), whole); err != nil {
			return offset, timestamp, epoch, false, fmt.Errorf("read %s: %w", s.name, err)
		}
		if !whole.CheckCRC() {
			return offset, timestamp, epoch, false, &damage{at, "CRC does not match"}
		}
		offset, timestamp, found, err = firstRecord(whole, ts, start)
		if err != nil || found {
			return offset, timestamp, whole.LeaderEpoch(), found, err
		}
	}
	return -1, record.NoTimestamp, -1, false, err
}

// firstRecord returns the first record of b from offset start on with timestamp
// ts or later.
func firstRecord(b record.Batch, ts, start int64) (offset, timestamp int64, found bool, err error) {
	for r, err := range b.Records(record.DefaultDecompressLimits()) {
		if errors.Is(err, record.ErrMalformed) {
			// A client made it so and its CRC is right: answer with the batch.
			return max(b.BaseOffset(), start), b.MaxTimestamp(), true, nil
		}
		if err != nil {
			return -1, record.NoTimestamp, false, err
		}
		if r.Timestamp >= ts && r.Offset >= start {
			return r.Offset, r.Timestamp, true, nil
		}
	}
	return -1, record.NoTimestamp, false, nil
}
