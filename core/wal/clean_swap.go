package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// How compacted segments are written and take the place of others.

// cleanedFiles are the files of a compacted segment in the order in which they are
// renamed. Most have no .txnindex; one that has none replaces none.
var cleanedFiles = [...]string{indexSuffix, timeIndexSuffix, txnIndexSuffix, logSuffix}

// cleanChunk is how much of a new segment is written at once, in bytes.
const cleanChunk = 1 << 20

// replace compacts one group of segments into one.
func (c *cleaning) replace(ctx context.Context, group []*segment) error {
	s, changed, err := c.rewrite(ctx, group)
	if err == nil && changed {
		return c.swap(group, s)
	}
	if s != nil {
		err = errors.Join(err, s.close(), removeCleaned(c.l.fsys, c.l.dir, group[0].base))
	}
	return err
}

// rewrite writes what stays of a group, and makes it durable. changed is false if it
// is all there was.
func (c *cleaning) rewrite(ctx context.Context, group []*segment) (s *segment, changed bool, err error) {
	l := c.l
	if err := removeCleaned(l.fsys, l.dir, group[0].base); err != nil {
		return nil, false, err
	}
	s = newSegmentAs(l.fsys, l.files, l.dir, group[0].base, cleanedSuffix)
	if err := s.file.Create(); err != nil {
		return s, false, err
	}
	w := cleanWriter{c: c, s: s, indexInterval: l.indexInterval()}
	end, last := c.endOf(group), group[0].base
	changed = len(group) > 1
	var out []byte
	for _, old := range group {
		_, err := old.txns.each(old.base, func(a AbortedTransaction) bool { // markers stay
			_, err = s.txns.append(a)
			return err != nil
		})
		if err != nil {
			return s, false, s.corrupt(err)
		}
		err = c.batches(ctx, old, func(b record.Batch) (bool, error) {
			if b.BaseOffset() < last {
				return false, &damage{0, fmt.Sprintf("a batch begins at offset %d, before %d", b.BaseOffset(), last)}
			}
			if epoch := l.epochs.at(b.BaseOffset()); epoch >= 0 && epoch != b.LeaderEpoch() {
				return false, &damage{0, fmt.Sprintf("the batch at offset %d has leader epoch %d, "+epochsFile+" says %d", b.BaseOffset(), b.LeaderEpoch(), epoch)}
			}
			last = b.LastOffset() + 1
			out, err = c.pass.Filter(out[:0], b, last == end || l.epochs.beginsWith(b))
			if err != nil {
				return false, err
			}
			changed = changed || !bytes.Equal(out, b)
			return true, w.write(ctx, out)
		})
		if err != nil {
			return s, false, err
		}
	}
	if last != end {
		return s, false, &CorruptError{File: group[len(group)-1].name, Reason: fmt.Sprintf("the file ends with offset %d instead of %d", last, end)}
	}
	if !changed {
		return s, false, nil
	}
	if err := errors.Join(w.flush(), s.flushIndexes()); err != nil {
		return s, false, err
	}
	s.sealedSynced, s.headSynced, s.born = true, group[0].headSynced, group[0].born
	return s, true, s.sync()
}

// beginsWith tells if b is the first batch of its leader epoch. Its header stays, or a
// replica that copies the log would take the epoch to begin later than it does, and
// believe that records of the epoch before are everybody's.
func (e *epochCache) beginsWith(b record.Batch) bool {
	all := e.all()
	i := sort.Search(len(all), func(i int) bool { return all[i].start >= b.BaseOffset() })
	return i < len(all) && all[i].start == b.BaseOffset()
}

func (l *Log) indexInterval() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg.IndexIntervalBytes
}

// cleanWriter writes batches to a new segment, many at once.
type cleanWriter struct {
	c             *cleaning
	s             *segment
	buf           []byte
	indexInterval int
}

func (w *cleanWriter) write(ctx context.Context, b record.Batch) error {
	if len(b) == 0 {
		return nil
	}
	if len(b) > w.c.l.maxBatch {
		return fmt.Errorf("what is left of the batch has %d bytes, more than a log takes", len(b))
	}
	at := w.s.size.Load() + int64(len(w.buf))
	if err := w.s.note(b, at, w.indexInterval); err != nil {
		return err
	}
	w.buf = append(w.buf, b...)
	if len(w.buf) < cleanChunk {
		return nil
	}
	if err := w.c.spend(ctx, len(w.buf)); err != nil {
		return err
	}
	return w.flush()
}

func (w *cleanWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	at := w.s.size.Load()
	if _, err := w.s.file.WriteAt(w.buf, at); err != nil {
		return fmt.Errorf("write %s: %w", w.s.name, err)
	}
	w.s.size.Store(at + int64(len(w.buf)))
	w.buf = w.buf[:0]
	return nil
}

// swap puts s in the place of group.
func (c *cleaning) swap(group []*segment, s *segment) error {
	l := c.l
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if err := l.Err(); err != nil {
		return errors.Join(err, s.close())
	}
	at := slices.Index(l.view.Load().segments, group[0])
	if at < 0 || !slices.Equal(l.view.Load().segments[at:min(at+len(group), len(l.view.Load().segments))], group) {
		return errors.Join(errAbandoned, s.close(), removeCleaned(l.fsys, l.dir, s.base))
	}
	if err := c.floor(); err != nil {
		return errors.Join(err, s.close())
	}
	// Files are opened by their names again and again, and these names will be others'.
	release, err := holdFiles(group)
	if err != nil {
		return errors.Join(err, s.close())
	}
	defer release()
	s, err = l.swapFiles(group, s)
	if err != nil {
		return errors.Join(l.fail("replace compacted segments", err), s.close())
	}
	c.replaced += len(group)
	if err := l.publishSwapped(group, s); err != nil {
		return l.fail("remove producer snapshots", err)
	}
	return closeAll(group)
}

// holdFiles keeps the files of segments open.
func holdFiles(segments []*segment) (release func(), err error) {
	var handles []*filecache.Handle
	release = func() {
		for _, h := range handles {
			_ = h.Release() // they were only read
		}
	}
	for _, s := range segments {
		for _, f := range []*filecache.File{s.file, s.offsets.file, s.times.file, s.txns.file} {
			if f == nil {
				continue // a transaction index without a file
			}
			h, err := f.Hold()
			if isNotExist(err) && f != s.file {
				continue // an index without entries
			}
			if err != nil {
				release()
				return nil, err
			}
			handles = append(handles, h)
		}
	}
	return release, nil
}

// floor makes sure that a start after a crash writes nothing from the commit log into
// segments that are about to be replaced, nor makes one again that is gone.
func (c *cleaning) floor() error {
	if c.floored || c.l.committer == nil {
		return nil
	}
	if err := c.l.committer.floor(c.l, c.limit); err != nil {
		return err
	}
	c.floored = true
	return nil
}

// swapFiles makes the files of s, durably, those of a segment that covers group, and
// returns that segment; s is closed.
func (l *Log) swapFiles(group []*segment, s *segment) (*segment, error) {
	if err := s.close(); err != nil {
		return s, err
	}
	for _, suffix := range cleanedFiles {
		name := offsetName(l.dir, s.base, suffix)
		if err := l.fsys.Rename(name+cleanedSuffix, name+swapSuffix); err != nil && (suffix != txnIndexSuffix || !isNotExist(err)) {
			return s, err
		}
	}
	// The .log.swap is there: from here on there is only the way forward.
	if err := l.fsys.SyncDir(l.dir); err != nil {
		return s, err
	}
	covered := make([]int64, 0, len(group))
	for _, old := range group[1:] {
		covered = append(covered, old.base)
	}
	if err := l.completeSwap(s.base, covered); err != nil {
		return s, err
	}
	named := newSegment(l.fsys, l.files, l.dir, s.base)
	named.log = l.log
	named.size.Store(s.size.Load())
	named.maxTime.Store(s.maxTime.Load())
	named.maxTimeOffset, named.born = s.maxTimeOffset, s.born
	named.sealedSynced, named.headSynced = s.sealedSynced, s.headSynced
	for to, from := range map[*index]*index{named.offsets: s.offsets, named.times: s.times} {
		to.tail.Store(&indexTail{flushed: from.count()})
		to.synced.Store(int64(from.count()))
	}
	named.txns.take(s.txns)
	return named, nil
}

// completeSwap removes the segments that one with .swap behind its names covers beside
// its own base, and takes the suffix away: that of the .log last, which until then says
// that all this has to be done. It may be done again.
func (l *Log) completeSwap(base int64, covered []int64) error {
	for _, old := range slices.Backward(covered) {
		if err := l.removeSegmentFiles(old); err != nil {
			return err
		}
	}
	for _, suffix := range cleanedFiles {
		name := offsetName(l.dir, base, suffix)
		if err := l.fsys.Rename(name+swapSuffix, name); err != nil && !isNotExist(err) {
			return err
		}
	}
	return l.fsys.SyncDir(l.dir)
}

// publishSwapped lets readers find s, and drops the snapshots within it.
func (l *Log) publishSwapped(group []*segment, s *segment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.view.Load()
	at := slices.Index(v.segments, group[0])
	l.view.Store(&view{slices.Concat(v.segments[:at], []*segment{s}, v.segments[at+len(group):])})
	return l.removeSnapshots(func(offset int64) bool {
		return slices.ContainsFunc(group[1:], func(old *segment) bool { return old.base == offset })
	})
}

// removeCleaned removes what a compaction wrote for the segment at base.
func removeCleaned(fsys FS, dir string, base int64) (err error) {
	for _, suffix := range cleanedFiles {
		err = errors.Join(err, disk.RemoveIfThere(fsys, offsetName(dir, base, suffix)+cleanedSuffix))
	}
	return err
}

// recoverSwaps completes the swaps that a crash interrupted: those with a .log.swap. It
// covers every segment that begins before the offset at which it ends, for the last
// batch of a group always stays.
func (l *Log) recoverSwaps() error {
	names, err := l.fsys.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		base, ok := parseOffsetName(strings.TrimSuffix(name, swapSuffix), logSuffix)
		if !ok || !strings.HasSuffix(name, swapSuffix) {
			continue
		}
		end, err := l.swapEnd(l.path(name), base)
		if err != nil {
			return err
		}
		var covered []int64
		for _, name := range names {
			if old, ok := parseOffsetName(name, logSuffix); ok && old > base && old < end {
				covered = append(covered, old)
			}
		}
		slices.Sort(covered)
		l.log.Info("completing an interrupted compaction", "dir", l.dir, "base_offset", base, "end_offset", end, "segments", len(covered)+1)
		if err := l.completeSwap(base, covered); err != nil {
			return err
		}
	}
	return nil
}

// swapEnd returns the offset behind the last batch of a file.
func (l *Log) swapEnd(name string, base int64) (end int64, err error) {
	f, err := l.fsys.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	sc := &scanner{file: f, limit: size, max: l.maxBatch}
	end = base
	for {
		b, at, err := sc.next()
		if d, ok := errors.AsType[*damage](err); ok {
			return 0, &CorruptError{File: name, Offset: d.pos, Reason: d.reason}
		}
		if err != nil || b == nil {
			return end, err
		}
		if b.BaseOffset() < end {
			return 0, &CorruptError{File: name, Offset: at, Reason: fmt.Sprintf("the batch begins at offset %d, before %d", b.BaseOffset(), end)}
		}
		end = b.LastOffset() + 1
	}
}
