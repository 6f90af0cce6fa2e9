package wal

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/quorate/quorate/protocol/record"
)

// What this process found in a file when it opened the log may have rotted since it
// was written, and a clean stop leaves no reason to read it again. So the bytes of a
// segment that were there are read with their CRCs before they are given to anybody
// for the first time: those that are asked for, not the whole segment. Nothing is
// decompressed. What this process wrote is not read again.

// checked is which bytes of a segment were read with their CRCs since it was opened.
type checked struct {
	mu     sync.Mutex
	ranges []byteRange // ascending, apart from each other
}

// byteRange is bytes from one position to before another.
type byteRange struct{ from, to int64 }

// maxCheckedRanges bounds what a segment remembers; what is forgotten is read again.
const maxCheckedRanges = 64

// covers tells if all bytes between two positions were read.
func (c *checked) covers(from, to int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.ranges {
		if r.from <= from && to <= r.to {
			return true
		}
	}
	return false
}

// add notes that the bytes between two positions were read.
func (c *checked) add(from, to int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := byteRange{from, to}
	c.ranges = slices.DeleteFunc(c.ranges, func(r byteRange) bool {
		if r.to < n.from || n.to < r.from {
			return false
		}
		n.from, n.to = min(n.from, r.from), max(n.to, r.to)
		return true
	})
	at, _ := slices.BinarySearchFunc(c.ranges, n, func(a, b byteRange) int { return int(min(max(a.from-b.from, -1), 1)) })
	c.ranges = slices.Insert(c.ranges, at, n)
	if len(c.ranges) > maxCheckedRanges {
		c.ranges = slices.Delete(c.ranges, 0, 1)
	}
}

// verify reads the batches between positions at and end of s with their CRCs, and
// compares offsets and leader epochs, which no CRC covers, with what lies around them;
// unless that was done since the log was opened. A search for offset has led to at. If
// the batch there begins behind it, or there is none, those that the search has passed
// are read too: one whose length is wrong hides others. bound is the offset that the segment ends with at
// most. What is not right is a *damage.
func (l *Log) verify(s *segment, offset, at, end, bound int64) error {
	end = min(end, s.trusted.Load())
	before := max(at-1, 0) // in the batch before at: then nothing is between the two
	if before >= end || s.checked.covers(before, end) {
		return nil
	}
	gap, err := s.beginsBehind(offset, at, l.maxBatch)
	if err != nil || !gap && (at >= end || s.checked.covers(at, end)) {
		return err
	}
	e, err := s.lookup(func(e indexEntry) bool {
		return int64(e.position) > at || gap && s.base+int64(e.relative) >= offset
	})
	if err != nil {
		return err
	}
	from := int64(e.position)
	err = l.verifyFrom(s, from, at, end, bound)
	if _, damaged := errors.AsType[*damage](err); damaged && from > 0 {
		// The index may be what is wrong: the segment tells by itself.
		from = 0
		if err = l.verifyFrom(s, 0, at, end, bound); err == nil {
			s.distrustIndex()
		}
	}
	if err == nil {
		s.checked.add(from, end)
	}
	return err
}

// beginsBehind tells if the batch at a position begins behind an offset, or there is
// none. Damage there is for others to find.
func (s *segment) beginsBehind(offset, at int64, maxBatch int) (bool, error) {
	sc := borrowScanner(s.file, at, s.size.Load(), maxBatch)
	defer sc.release()
	b, _, err := sc.next()
	if _, damaged := errors.AsType[*damage](err); damaged {
		return false, nil
	}
	return err == nil && (b == nil || b.BaseOffset() > offset), err
}

// verifyFrom is verify, beginning at the batch at position from.
func (l *Log) verifyFrom(s *segment, from, at, end, bound int64) error {
	sc := borrowVerifier(s, from, end, l.maxBatch)
	defer verifiers.Put(sc)
	last, met := s.base-1, from == at || at == end
	for {
		b, pos, err := sc.next()
		switch {
		case err != nil:
			return err
		case b == nil && !met:
			return &damage{at, "no batch begins here"}
		case b == nil:
			return s.verifyNext(last, end, bound, l.maxBatch)
		case b.BaseOffset() <= last || b.LastOffset() >= bound:
			return &damage{pos, fmt.Sprintf("the batch has offsets %d to %d, that is not between %d and %d", b.BaseOffset(), b.LastOffset(), last, bound)}
		}
		if epoch := l.epochs.at(b.BaseOffset()); epoch >= 0 && epoch != b.LeaderEpoch() {
			return &damage{pos, fmt.Sprintf("the batch has leader epoch %d, "+epochsFile+" says %d", b.LeaderEpoch(), epoch)}
		}
		met = met || pos == at
		last = b.LastOffset()
	}
}

// verifyNext wants the batch at position at to come after offset last.
func (s *segment) verifyNext(last, at, bound int64, maxBatch int) error {
	sc := borrowScanner(s.file, at, s.size.Load(), maxBatch)
	defer sc.release()
	b, _, err := sc.next()
	if _, damaged := errors.AsType[*damage](err); damaged {
		return nil // its own readers learn of it
	}
	if err == nil && b != nil && b.BaseOffset() <= last && b.LastOffset() < bound {
		return &damage{at, fmt.Sprintf("the batch has offsets %d to %d, the one before ends with %d", b.BaseOffset(), b.LastOffset(), last)}
	}
	return err
}

var verifiers = sync.Pool{New: func() any { return &scanner{} }}

// borrowVerifier returns a scanner that reads whole batches, from the pool.
func borrowVerifier(s *segment, pos, limit int64, maxBatch int) *scanner {
	sc := verifiers.Get().(*scanner) //nolint:errcheck // the pool holds nothing else
	*sc = scanner{file: s.file, pos: pos, limit: limit, max: maxBatch, verify: true, mem: sc.mem}
	return sc
}

// lookup is a search in the offset index; of one that was found to be wrong it finds
// nothing, and the segment is read from its beginning.
func (s *segment) lookup(after func(indexEntry) bool) (indexEntry, error) {
	if s.indexDamaged.Load() {
		return indexEntry{}, nil
	}
	return s.offsets.last(after)
}

// agrees tells if b is the batch that an entry of the offset index speaks of.
func (s *segment) agrees(e indexEntry, b record.Batch, err error) bool {
	_, damaged := errors.AsType[*damage](err)
	return !damaged && (err != nil || b != nil && b.LastOffset() == s.base+int64(e.relative))
}

// distrustIndex has the indexes of s not used any more; a clean close removes them,
// and the next open makes them anew.
func (s *segment) distrustIndex() {
	if s.indexDamaged.CompareAndSwap(false, true) && s.log != nil {
		s.log.Warn("index is damaged: reading the segment without it, it is made anew when the log is opened again", "file", s.name)
	}
}

// dropDamagedIndexes empties the indexes that were found to be wrong.
func (v *view) dropDamagedIndexes() (err error) {
	for _, s := range v.segments {
		if s.indexDamaged.Load() {
			err = errors.Join(err, s.offsets.rewrite(), s.times.rewrite(), s.offsets.sync(), s.times.sync())
		}
	}
	return err
}

// timeAgrees tells if the batch that an entry of the time index speaks of is there, in
// the first limit bytes, and has its timestamp.
func (s *segment) timeAgrees(t indexEntry, limit int64, maxBatch int) (bool, error) {
	sc := borrowScanner(s.file, 0, limit, maxBatch)
	defer sc.release()
	b, _, err := s.find(s.base+int64(t.relative), sc)
	if _, damaged := errors.AsType[*damage](err); damaged {
		return false, nil
	}
	return err == nil && b != nil && b.LastOffset() == s.base+int64(t.relative) && b.MaxTimestamp() == t.timestamp, err
}
