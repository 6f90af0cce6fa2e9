package wal

import (
	"errors"
	"slices"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/protocol/record"
)

// takeSnapshot writes the producers' state at offset, which is the end of what
// they know. Without sync its CRC tells later if a crash tore it. One that is there
// already may be the only trace of a producer, and is replaced at once and durably.
func (l *Log) takeSnapshot(offset int64, sync bool) error {
	name, state := offsetName(l.dir, offset, snapshotSuffix), l.producers.encode()
	i, there := slices.BinarySearch(l.snapshots, offset)
	if there {
		return disk.ReplaceFile(l.fsys, name, state)
	}
	if err := disk.WriteFile(l.fsys, name, state, sync); err != nil {
		return err
	}
	l.snapshots = slices.Insert(l.snapshots, i, offset)
	return nil
}

// removeSnapshots removes those whose offset is to go.
func (l *Log) removeSnapshots(goes func(offset int64) bool) (err error) {
	l.snapshots = slices.DeleteFunc(l.snapshots, func(offset int64) bool {
		if err != nil || !goes(offset) {
			return false
		}
		err = disk.RemoveIfThere(l.fsys, offsetName(l.dir, offset, snapshotSuffix))
		return err == nil
	})
	return err
}

// recoverProducers makes the producers' state that of the log up to end: from the
// newest snapshot that can be read, and the batches after it. Snapshots beyond end
// and unreadable ones go; each segment then has one at its base again. Transaction
// indexes that a crash may have left behind are made anew on the way.
func (l *Log) recoverProducers(end int64) error {
	if err := l.removeSnapshotsBeyond(end); err != nil {
		return err
	}
	clear(l.producers.known)
	segments := l.view.Load().segments
	from := segments[0].base
	for _, offset := range slices.Backward(l.snapshots) {
		if offset > l.redoTxns.marker {
			continue // what it knows is right, but the index needs the markers before it
		}
		b, err := disk.ReadFile(l.fsys, offsetName(l.dir, offset, snapshotSuffix))
		if err != nil {
			return err
		}
		if err := l.producers.load(b, l.now()); err == nil {
			from = max(from, offset)
			break
		} else {
			l.log.Warn("ignoring producer snapshot", "dir", l.dir, "offset", offset, "error", err)
		}
		if err := l.removeSnapshots(func(o int64) bool { return o == offset }); err != nil {
			return err
		}
	}
	txns := &undecided{}
	txns.reset(l.producers.openTransactions())
	for i, s := range segments {
		next := end
		if i < len(segments)-1 {
			next = segments[i+1].base
		}
		if next <= from {
			continue
		}
		if s.base > from && i > 0 {
			if err := l.takeSnapshot(s.base, true); err != nil {
				return err
			}
		}
		if err := l.replayProducers(txns, s, from); err != nil {
			return s.corrupt(err)
		}
	}
	err := l.redoTxns.finish(l)
	l.redoTxns = noRedo()
	l.undecided.reset(txns.open)
	return err
}

// removeSnapshotsBeyond removes, durably, the snapshots that know of more than
// the log has: one that a crash brought back would be believed once the log has
// grown past it.
func (l *Log) removeSnapshotsBeyond(end int64) error {
	before := len(l.snapshots)
	err := l.removeSnapshots(func(offset int64) bool { return offset > end })
	if err != nil || len(l.snapshots) == before {
		return err
	}
	return l.fsys.SyncDir(l.dir)
}

// replayProducers notes the batches of s from offset from on.
func (l *Log) replayProducers(txns *undecided, s *segment, from int64) error {
	sc := borrowScanner(s.file, 0, s.size.Load(), l.maxBatch)
	defer sc.release()
	now := l.now()
	b, at, err := s.find(max(from, s.base), sc)
	for ; b != nil && err == nil; b, at, err = sc.next() {
		if b.BaseOffset() < from || !b.HasProducerID() {
			continue
		}
		if b.IsControl() { // the scanner has the header only
			whole, err := sc.bytes(at, b.Size())
			if err != nil {
				return err
			}
			b = record.Batch(whole)
		}
		aborted, ok, err := l.noteProducer(txns, b, now)
		if err != nil { // such a batch was never appended
			return &damage{at, err.Error()}
		}
		if ok && aborted.Last >= l.redoTxns.from {
			l.redoTxns.entries[s] = append(l.redoTxns.entries[s], aborted)
		}
		txns.decide(none)
	}
	return err
}

// dropStraySnapshots removes those that a clean close left within a segment, and
// those before the first segment.
func (l *Log) dropStraySnapshots(v *view) error {
	return l.removeSnapshots(func(offset int64) bool {
		return !slices.ContainsFunc(v.segments, func(s *segment) bool { return s.base == offset })
	})
}

// snapshotState flushes what a clean close has to leave: indexes and the
// producers' state at the end, durable.
func (l *Log) snapshotState(v *view) error {
	s := v.active()
	err := s.flushIndexes()
	if s.times.count() > 0 {
		err = errors.Join(err, s.offsets.create()) // Kafka's tools read no .timeindex without an .index
	}
	return errors.Join(err, s.offsets.syncDirty(), s.times.syncDirty(), s.txns.sync(), l.takeSnapshot(l.end.Load(), true))
}
