package seglog

import "fmt"

// records turns a batch into records and checks them against the log, without
// changing it. The caller holds writeMu, so nobody else changes it either.
func (l *Log) records(batch []Write) ([]record, int64, error) {
	var b batcher
	l.mu.RLock()
	defer l.mu.RUnlock()
	for i := range batch {
		w := &batch[i]
		if err := b.add(l.view(w.Group, batch[:i]), w); err != nil {
			return nil, 0, fmt.Errorf("segment log: group %d: %w: %w", w.Group, ErrInvalid, err)
		}
	}
	var size int64
	for i := range b.records {
		n := b.records[i].size()
		if n > int64(l.cfg.MaxRecordBytes) {
			return nil, 0, fmt.Errorf("segment log: group %d: %w: record of %d bytes, the limit is %d",
				b.records[i].group, ErrInvalid, n, l.cfg.MaxRecordBytes)
		}
		size += n
	}
	return b.records, size, nil
}

// view returns the group for checking a write against it, nil if the batch
// names it twice: a batch has one Write per group.
func (l *Log) view(id uint64, before []Write) *group {
	for i := range before {
		if before[i].Group == id {
			return nil
		}
	}
	if g := l.groups[id]; g != nil {
		return g
	}
	return &group{id: id}
}

type batcher struct{ records []record }

func (b *batcher) add(g *group, w *Write) error {
	if g == nil {
		return fmt.Errorf("named twice in one batch")
	}
	first, last := g.first(), g.last()
	if w.Mark != nil {
		if err := g.checkMark(*w.Mark); err != nil {
			return err
		}
		r := markRecord(g.id, *w.Mark)
		if g.replaces(*w.Mark) {
			r.typ = markReplaces
			last = w.Mark.CompactedIndex
		}
		first = w.Mark.CompactedIndex + 1
		b.records = append(b.records, r)
	}
	last, err := b.truncate(g.id, w, first, last)
	if err != nil {
		return err
	}
	if err := b.entries(w, last); err != nil {
		return err
	}
	if w.State != nil {
		b.records = append(b.records, stateRecord(g.id, *w.State))
	}
	if w.Delete {
		b.records = append(b.records, record{kind: kindDelete, group: g.id})
	}
	return nil
}

// truncate adds a truncate record if w asks for one or its entries need one, and
// returns the last index after it.
func (b *batcher) truncate(id uint64, w *Write, first, last uint64) (uint64, error) {
	from := w.Truncate
	if len(w.Entries) > 0 && (from == 0 || w.Entries[0].Index < from) {
		from = w.Entries[0].Index
	}
	if from == 0 || from == last+1 {
		return last, nil
	}
	if from < first || from > last {
		return 0, fmt.Errorf("entry %d, the log has %d to %d", from, first, last)
	}
	b.records = append(b.records, record{kind: kindTruncate, group: id, index: from})
	return from - 1, nil
}

func (b *batcher) entries(w *Write, last uint64) error {
	for i := range w.Entries {
		e := &w.Entries[i]
		if e.Index != last+1 {
			return fmt.Errorf("entry %d after entry %d", e.Index, last)
		}
		last++
		b.records = append(b.records, record{
			kind: kindEntry, typ: e.Type, group: w.Group, index: e.Index, term: e.Term, data: e.Data,
		})
	}
	return nil
}
