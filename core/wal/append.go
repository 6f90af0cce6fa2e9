package wal

import (
	"fmt"
	"math"
	"time"

	"github.com/quorate/quorate/core/wal/ring"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// Appended is where the batches of an append are.
type Appended struct {
	First        int64 // offset of the first record
	Last         int64 // offset of the last record
	End          int64 // what Sync must be called with: the offset after Last
	LogStart     int64 // first offset of the log
	MaxTimestamp int64 // largest timestamp of the batches, milliseconds
	Duplicate    bool  // an idempotent producer sent it again: the offsets are those of the first time
}

// AppendAsLeader gives the batches their offsets and writes them, in the epoch in
// which the caller leads. It overwrites base offset and leader epoch in batches,
// with LogAppendTime also the timestamp, and keeps none of it. The batches must
// have passed record.Validate.
//
// Nothing is durable yet: see Sync. What a fetch may read at once.
//
// Errors: ErrFencedEpoch; *protocol.Error OUT_OF_ORDER_SEQUENCE_NUMBER,
// INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE and, for markers, INVALID_RECORD and
// TRANSACTION_COORDINATOR_FENCED, where nothing was written; ErrFailed.
func (l *Log) AppendAsLeader(epoch int32, batches []byte) (Appended, error) {
	unlock, err := l.lockForAppend(len(batches))
	if err != nil {
		return Appended{}, err
	}
	defer unlock()
	if epoch < l.fence {
		return Appended{}, fmt.Errorf("%w: %d, the log has seen %d", ErrFencedEpoch, epoch, l.fence)
	}
	a, err := l.assign(epoch, batches)
	if err != nil || a.Duplicate {
		return a, err
	}
	l.fence = epoch
	if err := l.write(batches); err != nil {
		return Appended{}, err
	}
	return a, nil
}

// storable tells if recovery would take b for a batch.
func (l *Log) storable(b record.Batch) error {
	if b.Magic() != 2 || b.LastOffsetDelta() < 0 {
		return protocol.Errorf(protocol.CorruptMessage, "record batch has magic %d and last offset delta %d", b.Magic(), b.LastOffsetDelta())
	}
	if len(b) > l.maxBatch {
		return protocol.Errorf(protocol.MessageTooLarge, "record batch of %d bytes is larger than a log takes, %d", len(b), l.maxBatch)
	}
	_, err := markerOf(b)
	return err
}

// assign checks the batches against the producers' state and gives them their
// place behind the end.
func (l *Log) assign(epoch int32, batches []byte) (Appended, error) {
	now := l.now()
	a := Appended{First: l.end.Load(), End: l.end.Load(), LogStart: l.start.Load(), MaxTimestamp: record.NoTimestamp}
	l.producers.begin()
	for rest := batches; len(rest) > 0; {
		var b record.Batch
		var m marker
		var err error
		if b, rest, err = record.Next(rest); err != nil {
			return Appended{}, fmt.Errorf("append: %w", err)
		}
		if err := l.storable(b); err != nil {
			return Appended{}, err
		}
		if b.HasProducerID() {
			p := l.producers.find(b.ProducerID(), now)
			if p != nil {
				if d := p.duplicate(b); d != nil {
					return Appended{
						First: d.firstOffset(), Last: d.lastOffset, End: d.lastOffset + 1,
						LogStart: a.LogStart, MaxTimestamp: d.timestamp, Duplicate: true,
					}, nil
				}
			}
			if m, err = markerOf(b); err != nil {
				return Appended{}, err
			}
			if err := p.check(b, m); err != nil {
				return Appended{}, err
			}
		}
		b.SetBaseOffset(a.End)
		b.SetLeaderEpoch(epoch)
		if l.cfg.LogAppendTime {
			b.SetLogAppendTime(now.UnixMilli())
		}
		if b.HasProducerID() {
			l.producers.stage(b, m, a.End, now)
		}
		a.End = b.LastOffset() + 1
		a.MaxTimestamp = max(a.MaxTimestamp, b.MaxTimestamp())
	}
	l.producers.begin() // write notes the batches again, once they are in the file
	a.Last = a.End - 1
	return a, nil
}

// AppendAsFollower writes batches as the leader has them. They must begin at End or
// later, each behind the one before it (a leader's log that was compacted has gaps),
// have leader epochs that do not go back, and have passed record.Validate. Producer
// state follows without being checked.
//
// One exception: a log without records takes a first batch of which End is the
// middle, because a leader's start may be. Start is then the batch's base offset
// until the caller moves it with SetStart.
//
// Errors: ErrNotContiguous, ErrFencedEpoch, where nothing was written; ErrFailed.
func (l *Log) AppendAsFollower(batches []byte) (Appended, error) {
	if first, _, err := record.Next(batches); err == nil && first != nil {
		if err := l.beginWithin(first); err != nil {
			return Appended{}, err
		}
	}
	if !l.gaps.Load() && hasGap(batches, l.end.Load()) {
		if err := l.allowGaps(); err != nil {
			return Appended{}, err
		}
	}
	return l.appendAsFollower(batches)
}

// hasGap tells if offsets from end on are missing before or between batches.
func hasGap(batches []byte, end int64) bool {
	for b, err := range record.Split(batches) {
		if err != nil || len(b) == 0 {
			return false // appendAsFollower says what is wrong
		}
		if b.BaseOffset() > end {
			return true
		}
		end = b.LastOffset() + 1
	}
	return false
}

// allowGaps makes it durable that offsets may be missing, before any is: without that
// recovery takes a gap for damage.
func (l *Log) allowGaps() error {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	c := l.checkpoint
	c.gaps = true
	if err := l.saveCheckpoint(c); err != nil {
		return l.fail("write checkpoint", err)
	}
	l.gaps.Store(true)
	return nil
}

// beginWithin lets an empty log begin at the base of b if its end is within b.
func (l *Log) beginWithin(b record.Batch) error {
	if end := l.end.Load(); b.BaseOffset() >= end || b.LastOffset() < end || l.Size() > 0 {
		return nil
	}
	return l.Reset(b.BaseOffset())
}

func (l *Log) appendAsFollower(batches []byte) (Appended, error) {
	unlock, err := l.lockForAppend(len(batches))
	if err != nil {
		return Appended{}, err
	}
	defer unlock()
	end := l.end.Load()
	a := Appended{First: end, End: end, LogStart: l.start.Load(), MaxTimestamp: record.NoTimestamp}
	epoch := l.epochs.latest()
	for rest := batches; len(rest) > 0; {
		var b record.Batch
		var err error
		if b, rest, err = record.Next(rest); err != nil {
			return Appended{}, fmt.Errorf("append: %w", err)
		}
		if err := l.storable(b); err != nil {
			return Appended{}, err
		}
		// No gap is larger than a segment's range of offsets: the last batch of each stays.
		if b.BaseOffset() < a.End || b.BaseOffset() > a.End && (!l.gaps.Load() || b.LastOffset()-a.End > math.MaxInt32) {
			return Appended{}, fmt.Errorf("%w: batch of offsets %d to %d instead of %d", ErrNotContiguous, b.BaseOffset(), b.LastOffset(), a.End)
		}
		if b.LeaderEpoch() < epoch {
			return Appended{}, fmt.Errorf("%w: batch at offset %d has %d after %d", ErrFencedEpoch, a.End, b.LeaderEpoch(), epoch)
		}
		epoch = b.LeaderEpoch()
		a.End = b.LastOffset() + 1
		a.MaxTimestamp = max(a.MaxTimestamp, b.MaxTimestamp())
	}
	if len(batches) > 0 {
		a.First = record.Batch(batches).BaseOffset()
	}
	a.Last = a.End - 1
	if err := l.write(batches); err != nil {
		return Appended{}, err
	}
	return a, nil
}

// write writes whole batches that have their place, in as few writes as the
// segments allow, and publishes them.
func (l *Log) write(batches []byte) error {
	if err := l.unmark(); err != nil {
		return l.fail("remove clean-shutdown marker", err)
	}
	for len(batches) > 0 {
		if l.full(l.view.Load().active(), 0, batches) {
			if err := l.roll(); err != nil {
				return l.fail("roll segment", err)
			}
		}
		n, err := l.writeRun(l.view.Load().active(), batches)
		if err != nil {
			return l.fail("append", err)
		}
		batches = batches[n:]
	}
	return nil
}

// full tells if the first of batches does not belong into s behind pending more bytes.
func (l *Log) full(s *segment, pending int, batches []byte) bool {
	size := s.size.Load() + int64(pending)
	if size == 0 {
		return false
	}
	b := record.Batch(batches)
	return size+int64(b.Size()) > l.cfg.SegmentBytes ||
		b.LastOffset()-s.base > math.MaxInt32 ||
		s.offsets.count() >= max(1, l.cfg.SegmentIndexBytes/offsetEntrySize) ||
		pending == 0 && l.cfg.SegmentAge > 0 && l.now().Sub(s.born) >= l.cfg.SegmentAge-l.jitter(s)
}

// jitter is by how much the age of s is shortened: always the same for a segment.
func (l *Log) jitter(s *segment) time.Duration {
	most := min(l.cfg.SegmentJitter, l.cfg.SegmentAge-1)
	if most <= 0 {
		return 0
	}
	return time.Duration((l.seed ^ uint64(s.base)) * 0x9e3779b97f4a7c15 >> 1 % uint64(most+1))
}

// writeRun writes as many of the batches as belong into s with one pwrite, at
// least one, and returns their bytes.
func (l *Log) writeRun(s *segment, batches []byte) (n int, err error) {
	for n == 0 || n < len(batches) && !l.full(s, n, batches[n:]) && n+record.Batch(batches[n:]).Size() <= ring.MaxPayload {
		n += record.Batch(batches[n:]).Size()
	}
	at := s.size.Load()
	if _, err := s.file.WriteAt(batches[:n], at); err != nil {
		return 0, err
	}
	now := l.now()
	if s.born.IsZero() {
		s.born = now
	}
	var end int64
	for pos := 0; pos < n; {
		b := record.Batch(batches[pos:])
		if err := s.note(b, at+int64(pos), l.cfg.IndexIntervalBytes); err != nil {
			return 0, err
		}
		l.epochs.assign(b.LeaderEpoch(), b.BaseOffset())
		if b.HasProducerID() {
			if err := l.appendedByProducer(s, b, now); err != nil {
				return 0, err
			}
		}
		end = b.LastOffset() + 1
		pos += b.Size()
	}
	s.size.Store(at + int64(n))
	l.end.Store(end)
	l.commit(s, at, batches[:n], end)
	return n, nil
}

// roll seals the active segment and begins one at End. The caller holds mu.
// Nothing is synced here: the next sync round does that, in order.
func (l *Log) roll() error {
	base := l.end.Load()
	old := l.view.Load()
	if err := old.active().flushIndexes(); err != nil {
		return err
	}
	if err := l.takeSnapshot(base, false); err != nil {
		return err
	}
	s, err := createSegment(l.fsys, l.files, l.dir, base)
	if err != nil {
		return err
	}
	l.dirDirty.Store(true) // before anybody can find s
	l.view.Store(old.with(s))
	l.log.Debug("rolled segment", "dir", l.dir, "base_offset", base)
	return nil
}
