package wal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/core/wal/compact"
	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// CleanPolicy says what Clean may do, and when it is worth it.
type CleanPolicy struct {
	// UpTo is the high watermark: nothing at or after it is compacted. Neither is what
	// an open transaction may still change, nor the active segment.
	UpTo int64
	// MinDirtyRatio is the share of bytes that no compaction has seen from which on one
	// is worth it. Kafka: min.cleanable.dirty.ratio.
	MinDirtyRatio float64
	// MinLag is how long a record stays as it is. Kafka: min.compaction.lag.ms.
	MinLag time.Duration
	// MaxLag is the age of a record that no compaction has seen from which on one is due
	// whatever the ratio; 0: none. Kafka: max.compaction.lag.ms.
	MaxLag time.Duration
	// DeleteRetention is how long tombstones stay. Kafka: delete.retention.ms.
	DeleteRetention time.Duration
	// MapBytes bounds the memory for keys. If not all fit, the rest is left for the next
	// time. Kafka: log.cleaner.dedupe.buffer.size.
	MapBytes int
	// Throttle, if not nil, is told of bytes that were read or written and may wait.
	Throttle func(ctx context.Context, bytes int) error
}

// Dirt is what a Clean would find.
type Dirt struct {
	CleanBytes, DirtyBytes int64 // of what may be compacted: seen by a former one, and not
	Due                    bool
}

// Ratio is the share of dirty bytes.
func (d Dirt) Ratio() float64 {
	if d.DirtyBytes == 0 {
		return 0
	}
	return float64(d.DirtyBytes) / float64(d.CleanBytes+d.DirtyBytes)
}

// Dirt tells if Clean is worth it. It reads one batch header at most.
func (l *Log) Dirt(p CleanPolicy) (Dirt, error) {
	l.roundMu.Lock()
	clean := l.checkpoint.clean
	l.roundMu.Unlock()
	if err := l.Err(); err != nil {
		return Dirt{}, err
	}
	segments := l.view.Load().segments
	n := l.compactable(segments, p)
	var d Dirt
	var first *segment
	for i, s := range segments[:n] {
		if segments[i+1].base <= clean {
			d.CleanBytes += s.size.Load()
			continue
		}
		if first == nil {
			first = s
		}
		d.DirtyBytes += s.size.Load()
	}
	if first == nil {
		return d, nil
	}
	d.Due = d.Ratio() >= p.MinDirtyRatio
	if d.Due || p.MaxLag <= 0 {
		return d, nil
	}
	var err error
	d.Due, err = l.overdue(first, p.MaxLag)
	return d, err
}

// overdue tells if the first batch of s is older than lag.
func (l *Log) overdue(s *segment, lag time.Duration) (due bool, err error) {
	err = l.stable(func(*view) error {
		sc := borrowScanner(s.file, 0, s.size.Load(), l.maxBatch)
		defer sc.release()
		b, _, err := sc.next()
		if isClosed(err) {
			return nil // deleted meanwhile
		}
		if err != nil || b == nil {
			return s.corrupt(err)
		}
		due = b.MaxTimestamp() >= 0 && l.now().Sub(time.UnixMilli(b.MaxTimestamp())) > lag
		return nil
	})
	return due, err
}

// compactable is how many of the first segments may be compacted: sealed ones, below
// the limits of p.
func (l *Log) compactable(segments []*segment, p CleanPolicy) (n int) {
	for n < len(segments)-1 && segments[n+1].base <= p.UpTo {
		newest := segments[n].maxTime.Load()
		if p.MinLag > 0 && newest >= 0 && l.now().Sub(time.UnixMilli(newest)) < p.MinLag {
			break
		}
		n++
	}
	return n
}

// CleanStats is what a Clean has done.
type CleanStats struct {
	compact.Stats
	Segments int           // that were replaced
	Took     time.Duration // with what Throttle waited
	Clean    int64         // offset before which everything is compacted now
}

// errAbandoned says that segments which were being compacted are not there any more.
var errAbandoned = errors.New("the log was changed meanwhile")

// Clean compacts the sealed segments below the limits of p: of the records of a key
// only the newest stays, and for a while the tombstone of a deleted one. Offsets and
// order do not change; readers and appends go on. It writes the new segments beside
// the old ones, and puts each in the place of those that it was made of, durably and in
// one step.
//
// One Clean runs at a time. Close, Delete and the end of ctx interrupt it, which leaves
// a log that is compacted in part. An error that is ErrFailed is final, as is that of
// every disk operation on files of the log; any other leaves the log as it was:
// *CorruptError, a batch that cannot be read, no space. If segments are deleted or
// truncated meanwhile it stops without an error.
func (l *Log) Clean(ctx context.Context, p CleanPolicy) (stats CleanStats, err error) {
	l.cleanMu.Lock()
	defer l.cleanMu.Unlock()
	began := time.Now()
	c, err := l.beginClean(p)
	if err != nil || c == nil {
		return stats, err
	}
	defer c.release()
	ctx, cancel := c.l.untilClosed(ctx)
	defer cancel()
	err = c.run(ctx)
	switch {
	case errors.Is(err, errAbandoned), isClosed(err) && l.Err() == nil:
		err = nil // the next one compacts what is there now
	case isClosed(err):
		err = l.Err()
	}
	return c.stats(began), err
}

func (c *cleaning) run(ctx context.Context) error {
	if err := c.collect(ctx); err != nil {
		return err
	}
	for _, group := range c.groups() {
		if err := c.replace(ctx, group); err != nil {
			return err
		}
	}
	return c.finish()
}

// untilClosed is ctx, but ends with ErrClosed as its cause when the log is closed.
func (l *Log) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	l.cleanEnd.mu.Lock()
	defer l.cleanEnd.mu.Unlock()
	if l.cleanEnd.over {
		cancel(ErrClosed)
	}
	l.cleanEnd.cancel = cancel
	return ctx, func() {
		l.cleanEnd.mu.Lock()
		defer l.cleanEnd.mu.Unlock()
		l.cleanEnd.cancel = nil
		cancel(nil)
	}
}

// cleanEnd interrupts the compaction under way, of which a log has one at a time.
type cleanEnd struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the one under way; nil without
	over   bool                    // there is to be none any more
}

// endCleaning interrupts a Clean and keeps others away until it is undone. After it
// there is none any more: they find the log closed.
func (l *Log) endCleaning() (undo func()) {
	l.cleanEnd.mu.Lock()
	l.cleanEnd.over = true
	if cancel := l.cleanEnd.cancel; cancel != nil {
		cancel(ErrClosed)
	}
	l.cleanEnd.mu.Unlock()
	l.cleanMu.Lock()
	return l.cleanMu.Unlock
}

// cleaning is one Clean under way.
type cleaning struct {
	l         *Log
	p         CleanPolicy
	segments  []*segment // that may be compacted; their files are held
	limit     int64      // where they end
	held      []*filecache.Handle
	committed int64 // the high watermark
	shrinks   int
	producers map[int64]int64 // last offsets below the high watermark, or unknownOffset
	lastDirty map[int64]int64 // the same in the dirty part, of those that are unknown
	pass      *compact.Pass
	aborted   map[int64][]AbortedTransaction // those in the dirty part, by producer
	floored   bool                           // the commit log redoes nothing below limit
	replaced  int
	spent     int // bytes that Throttle does not know of yet
	clean     int64
}

// beginClean makes the log durable and finds what is to be compacted; nil if nothing is.
func (l *Log) beginClean(p CleanPolicy) (c *cleaning, err error) {
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if err := l.Err(); err != nil {
		return nil, err
	}
	c = &cleaning{l: l, p: p, shrinks: l.shrinks, clean: l.checkpoint.clean, committed: p.UpTo}
	c.p.UpTo = l.LastStable(p.UpTo)
	c.noteProducers()
	if n := l.compactable(l.view.Load().segments, c.p); n == 0 || l.view.Load().segments[n].base <= c.clean {
		return nil, nil
	}
	if err := l.syncLocked(); err != nil {
		return nil, err
	}
	v := l.view.Load()
	if err := l.syncBefore(v); err != nil { // syncLocked takes a checkpoint of the commit log for it
		return nil, err
	}
	n := l.compactable(v.segments, c.p)
	// From here on everything below the active segment is known to be on stable
	// storage, and recovery reads it no more. And it may have gaps.
	cp := l.checkpoint
	cp.recoveryPoint, cp.gaps = v.active().base, true
	if err := l.saveCheckpoint(cp); err != nil {
		return nil, l.fail("write checkpoint", err)
	}
	l.gaps.Store(true)
	for _, s := range v.segments[:n] {
		h, err := s.file.Hold()
		if err != nil {
			c.release()
			return nil, err
		}
		c.held = append(c.held, h)
		c.segments = append(c.segments, s)
	}
	c.limit = v.segments[n].base
	return c, nil
}

// noteProducers remembers where each producer's last batch is.
func (c *cleaning) noteProducers() {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers.expire(l.now())
	c.producers = make(map[int64]int64, len(l.producers.known))
	for id, p := range l.producers.known {
		c.producers[id] = p.lastBefore(c.committed)
	}
}

// unknownOffset stands for the last offset of a producer of which only batches at or
// above the high watermark are remembered.
const unknownOffset = -2

// lastBefore is the end of the last batch below a high watermark. What lies above may be
// truncated, and then the one before is the last trace of the producer.
func (p *producer) lastBefore(committed int64) int64 {
	for _, b := range slices.Backward(p.batches[:p.n]) {
		if b.lastOffset < committed {
			return b.lastOffset
		}
	}
	if p.n == 0 {
		return -1
	}
	return unknownOffset
}

// lastOfProducer tells if b may be the last batch below the high watermark of a
// producer that is still known.
func (c *cleaning) lastOfProducer(b record.Batch) bool {
	last, ok := c.producers[b.ProducerID()]
	if !ok || last != unknownOffset {
		return ok && last == b.LastOffset()
	}
	last, ok = c.lastDirty[b.ProducerID()]
	return !ok || b.LastOffset() >= last
}

// release lets go of the files.
func (c *cleaning) release() {
	for _, h := range c.held {
		_ = h.Release() // of a segment that may be gone; it was only read
	}
	c.held = nil
}

func (c *cleaning) stats(began time.Time) CleanStats {
	return CleanStats{Stats: c.pass.Stats(), Segments: c.replaced, Took: time.Since(began), Clean: c.clean}
}

// throttleBytes is how much is read or written until somebody is asked whether to go on.
const throttleBytes = 256 << 10

// spend counts bytes that were read or written. It returns an error if there is a
// reason to stop.
func (c *cleaning) spend(ctx context.Context, n int) error {
	if c.spent += n; c.spent < throttleBytes {
		return nil
	}
	n, c.spent = c.spent, 0
	if c.p.Throttle != nil && ctx.Err() == nil {
		if err := c.p.Throttle(ctx, n); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// batches calls f with the whole batches of s, with their CRCs verified.
func (c *cleaning) batches(ctx context.Context, s *segment, f func(record.Batch) (more bool, err error)) error {
	sc := &scanner{file: s.file, limit: s.size.Load(), max: c.l.maxBatch, verify: true}
	for {
		b, at, err := sc.next()
		if err != nil || b == nil {
			return s.corrupt(err)
		}
		if err := c.spend(ctx, len(b)); err != nil {
			return err
		}
		more, err := f(b)
		if d, ok := errors.AsType[*damage](err); ok {
			return s.corrupt(&damage{at, d.reason})
		}
		if err != nil {
			return fmt.Errorf("%s at byte %d: %w", s.name, at, err)
		}
		if !more {
			return nil
		}
	}
}

// collect remembers the keys of the dirty part, as many as there is room for.
func (c *cleaning) collect(ctx context.Context) error {
	c.pass = compact.NewPass(compact.Config{
		MapBytes: c.mapBytes(), Now: c.l.now(), DeleteRetention: c.p.DeleteRetention,
		LastOfProducer: c.lastOfProducer,
		Aborted:        c.isAborted,
		Limits:         record.DefaultDecompressLimits(),
	})
	if err := c.noteAborted(); err != nil {
		return err
	}
	c.lastDirty = map[int64]int64{}
	room := true
	for i, s := range c.segments {
		end := c.limit
		if i < len(c.segments)-1 {
			end = c.segments[i+1].base
		}
		if end <= c.clean || !room {
			continue
		}
		err := c.batches(ctx, s, func(b record.Batch) (more bool, err error) {
			if b.LastOffset() < c.clean {
				return true, nil
			}
			if room, err = c.pass.Collect(b); room && c.producers[b.ProducerID()] == unknownOffset {
				c.lastDirty[b.ProducerID()] = b.LastOffset()
			}
			return room, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// noteAborted remembers the aborted transactions of the dirty part. There is none
// that is open: it ends before the last stable offset.
func (c *cleaning) noteAborted() error {
	all, err := c.l.AbortedTransactions(max(c.clean, c.segments[0].base), c.limit)
	if err != nil {
		return err
	}
	c.aborted = map[int64][]AbortedTransaction{}
	for _, a := range all {
		c.aborted[a.ProducerID] = append(c.aborted[a.ProducerID], a)
	}
	return nil
}

// isAborted tells if a transactional batch of the dirty part belongs to a transaction
// that was aborted.
func (c *cleaning) isAborted(b record.Batch) bool {
	return slices.ContainsFunc(c.aborted[b.ProducerID()], func(a AbortedTransaction) bool {
		return a.First <= b.BaseOffset() && b.BaseOffset() < a.Last
	})
}

// mapBytes is the memory that the keys need at most: not more than there are offsets.
func (c *cleaning) mapBytes() int {
	offsets := c.limit - max(c.clean, c.segments[0].base)
	return int(min(int64(c.p.MapBytes), compact.BytesFor(offsets)))
}

// groups joins segments that follow each other, as many as make one that is not too
// large. What lies behind the last key that there was room for stays as it is.
func (c *cleaning) groups() (groups [][]*segment) {
	var size int64
	for i, s := range c.segments {
		if s.base >= c.pass.End() {
			break
		}
		end := c.limit
		if i < len(c.segments)-1 {
			end = c.segments[i+1].base
		}
		n := len(groups)
		size += s.size.Load()
		if n == 0 || size > c.l.segmentBytes() || end-1-groups[n-1][0].base > math.MaxInt32 {
			groups = append(groups, nil)
			n, size = n+1, s.size.Load()
		}
		groups[n-1] = append(groups[n-1], s)
	}
	return groups
}

// endOf is the offset behind a group: where the segment after it begins.
func (c *cleaning) endOf(group []*segment) int64 {
	last := group[len(group)-1]
	for i, s := range c.segments[:len(c.segments)-1] {
		if s == last {
			return c.segments[i+1].base
		}
	}
	return c.limit
}

// segmentBytes is the largest size of a segment.
func (l *Log) segmentBytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg.SegmentBytes
}

// finish makes durable how far the log is compacted, unless it became shorter meanwhile.
func (c *cleaning) finish() error {
	l := c.l
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	if l.shrinks != c.shrinks {
		return errAbandoned
	}
	cp := l.checkpoint
	cp.clean = max(cp.clean, c.pass.End())
	if err := l.saveCheckpoint(cp); err != nil {
		return l.fail("write checkpoint", err)
	}
	c.clean = cp.clean
	return nil
}
