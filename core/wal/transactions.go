package wal

import (
	"slices"
	"time"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/protocol/record"
)

// noteProducer notes a whole batch of a producer: the producer's state, and the
// transaction that the batch begins or ends. ok tells if it aborted one. The caller holds mu.
func (l *Log) noteProducer(txns *undecided, b record.Batch, now time.Time) (aborted AbortedTransaction, ok bool, err error) {
	m, err := markerOf(b)
	if err != nil {
		return aborted, false, err
	}
	before, after := l.producers.replay(b, m, now)
	switch {
	case before < 0 && after >= 0:
		txns.begin(after)
	case before >= 0 && after < 0:
		aborted = AbortedTransaction{b.ProducerID(), before, b.LastOffset(), txns.end(before, b.LastOffset())}
		return aborted, m.Type == record.Abort, nil
	}
	return aborted, false, nil
}

// appendedByProducer notes a batch of a producer that was appended to s.
func (l *Log) appendedByProducer(s *segment, b record.Batch, now time.Time) error {
	aborted, ok, err := l.noteProducer(&l.undecided, b, now)
	if err != nil || !ok {
		return err
	}
	created, err := s.txns.append(aborted)
	if created {
		l.dirDirty.Store(true)
	}
	return err
}

// redoTxns is what Open knows of the transaction indexes. They say what the batches
// and the producers' state say, so what a crash may have left behind of them is made
// anew from those.
type redoTxns struct {
	files   []int64 // bases of the segments that have an index, ascending
	from    int64   // markers from this offset on are indexed anew
	marker  int64   // no marker that matters lies between from and this offset
	entries map[*segment][]AbortedTransaction
}

func noRedo() redoTxns { return redoTxns{from: none, marker: none} }

// loadTxnIndexes opens the transaction indexes of a log that ends at end, and takes
// from them what is not made anew. One that cannot belong to its segment is made anew
// with all that follow.
func (l *Log) loadTxnIndexes(segments []*segment, end int64) error {
	redo := &l.redoTxns
	for i, s := range segments {
		if _, ok := slices.BinarySearch(redo.files, s.base); !ok {
			continue
		}
		next := end
		if i < len(segments)-1 {
			next = segments[i+1].base
		}
		usable, err := s.txns.load(s.base, next)
		if err != nil {
			return err
		}
		if !usable && s.base < redo.from && next > l.checkpoint.start {
			l.log.Warn("rebuilding transaction index", "dir", l.dir, "base_offset", s.base)
			redo.from, redo.marker = s.base, min(redo.marker, s.base)
		}
	}
	redo.entries = map[*segment][]AbortedTransaction{}
	for i, s := range segments {
		next := end
		if i < len(segments)-1 {
			next = segments[i+1].base
		}
		if next <= redo.from && i < len(segments)-1 { // the last one may have an entry for what was torn off
			continue
		}
		redo.entries[s] = nil
		if s.base >= redo.from || next <= l.checkpoint.start {
			continue
		}
		_, err := s.txns.each(s.base, func(a AbortedTransaction) bool {
			if a.Last < redo.from {
				redo.entries[s] = append(redo.entries[s], a)
			}
			return a.Last >= redo.from
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// finish writes the transaction indexes that were made anew.
func (r *redoTxns) finish(l *Log) error {
	if r.from == none {
		return nil
	}
	removed := false
	for s, entries := range r.entries {
		_, there := slices.BinarySearch(r.files, s.base)
		if !there && len(entries) == 0 {
			continue
		}
		removed = removed || len(entries) == 0
		if err := s.txns.replace(entries); err != nil {
			return err
		}
	}
	if removed {
		return l.fsys.SyncDir(l.dir)
	}
	return nil
}

// replace makes the entries those of the index, in one step and durably. Without
// entries the file goes; the caller syncs the directory.
func (x *txnIndex) replace(entries []AbortedTransaction) error {
	if err := x.close(); err != nil {
		return err
	}
	x.file = nil // what follows makes another file of this name
	x.use()
	x.there = len(entries) > 0
	var err error
	if len(entries) == 0 {
		err = disk.RemoveIfThere(x.fsys, x.name())
	} else {
		b := make([]byte, 0, len(entries)*txnEntrySize)
		for _, a := range entries {
			e := a.encode()
			b = append(b, e[:]...)
		}
		err = disk.ReplaceFile(x.fsys, x.name(), b)
	}
	x.n.Store(int64(len(entries)))
	x.synced.Store(int64(len(entries)))
	return err
}
