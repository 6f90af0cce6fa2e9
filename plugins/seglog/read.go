package seglog

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/quorate/quorate/consensus"
)

var (
	// ErrCompacted means that the index is below the first entry.
	ErrCompacted = errors.New("the entry was compacted away")
	// ErrUnavailable means that the index is beyond the last entry.
	ErrUnavailable = errors.New("no such entry")
)

// entryOverhead is what an entry counts for in a read besides its data.
const entryOverhead = 24

// Info is what the log holds of a group.
type Info struct {
	State       State
	Mark        Mark
	First, Last uint64 // First = Last + 1 without entries
	Bytes       int64  // of the entries' data
}

// Groups returns the ids of the groups that the log knows, ascending.
func (l *Log) Groups() []uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Sorted(maps.Keys(l.groups))
}

// Info returns what the log holds of group; ok is false for a group without a
// record.
func (l *Log) Info(id uint64) (info Info, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	g := l.groups[id]
	if g == nil {
		return Info{First: 1}, false
	}
	return Info{State: g.state, Mark: g.mark, First: g.first(), Last: g.last(), Bytes: g.bytes}, true
}

// Term returns the term of the entry at index, which may be the compacted one.
func (l *Log) Term(id, index uint64) (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	g := l.groups[id]
	switch {
	case g == nil && index == 0:
		return 0, nil
	case g == nil || index > g.last():
		return 0, ErrUnavailable
	case index == g.mark.CompactedIndex:
		return g.mark.CompactedTerm, nil
	case index < g.first():
		return 0, ErrCompacted
	}
	return g.at(index).term, nil
}

// IndexForBytes returns the lowest index from which on the entries up to last
// have at most maxBytes of data.
func (l *Log) IndexForBytes(id, last uint64, maxBytes int64) uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	g := l.groups[id]
	if g == nil || last > g.last() {
		return last
	}
	index := last + 1
	for index > g.first() && int64(g.at(index-1).length) <= maxBytes {
		index--
		maxBytes -= int64(g.at(index).length)
	}
	return index
}

// Entries returns entries from lo on, below hi, at least one and no more than
// fit into maxBytes. The error is ErrCompacted, ErrUnavailable if lo or hi - 1
// does not exist, or wraps consensus.ErrStorageFailed.
func (l *Log) Entries(id, lo, hi uint64, maxBytes int64) ([]Entry, error) {
	found, err := l.find(id, lo, hi, maxBytes)
	if err != nil {
		return nil, err
	}
	defer unpin(found)
	entries, page := make([]Entry, len(found)), page{}
	for i, p := range found {
		data := p.data
		if data == nil && p.length > 0 {
			if !page.holds(p) {
				page = l.readPage(found[i:])
			}
			if data, err = l.load(id, lo+uint64(i), p, page); err != nil {
				return nil, fmt.Errorf("segment log: %w: %w", consensus.ErrStorageFailed, err)
			}
		}
		entries[i] = Entry{Index: lo + uint64(i), Term: p.term, Type: p.typ, Data: data}
	}
	return entries, nil
}

// pageBytes is how much is read at once of entries that lie together, unless a
// single one is larger.
const pageBytes = 256 << 10

// page is a piece of a segment, or why it could not be read.
type page struct {
	segment *segment
	offset  int64
	data    []byte
	err     error
}

func (p position) end() int64 { return p.offset + recordHeader + int64(p.length) }

func (g page) holds(p position) bool {
	return g.segment == p.segment && g.offset <= p.offset && p.end() <= g.offset+int64(len(g.data))
}

// readPage reads the first of ps, and with it those that follow in the same piece of
// its segment: a backlog of small entries costs one read for thousands of them.
func (l *Log) readPage(ps []position) page {
	first := ps[0]
	end := first.end()
	for _, p := range ps[1:] {
		if p.segment != first.segment || p.offset < end || p.end()-first.offset > pageBytes {
			break
		}
		end = p.end()
	}
	g := page{segment: first.segment, offset: first.offset, data: make([]byte, end-first.offset)}
	_, g.err = first.segment.file.ReadAt(g.data, first.offset)
	return g
}

// find returns the positions to read, and holds their segments until unpin.
func (l *Log) find(id, lo, hi uint64, maxBytes int64) ([]position, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	g := l.groups[id]
	switch {
	case g == nil || hi > g.last()+1 || lo >= hi:
		return nil, ErrUnavailable
	case lo < g.first():
		return nil, ErrCompacted
	}
	n := 0
	for i := lo; i < hi; i++ {
		maxBytes -= int64(g.at(i).length) + entryOverhead
		if maxBytes < 0 && n > 0 {
			break
		}
		n++
	}
	found := make([]position, n)
	copy(found, g.entries[lo-g.first():])
	for i := range found {
		found[i].segment.readers.Add(1)
	}
	return found, nil
}

func unpin(ps []position) {
	for i := range ps {
		ps[i].segment.readers.Add(-1)
	}
}

// load finds one entry in a page of its segment.
func (l *Log) load(id, index uint64, p position, in page) ([]byte, error) {
	if in.err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", in.segment.name, in.offset, in.err)
	}
	b := in.data[p.offset-in.offset : p.end()-in.offset]
	r, _, err := decodeRecord(p.segment.sequence, b, l.cfg.MaxRecordBytes)
	if err != nil {
		return nil, fmt.Errorf("damage in %s at %d: %w", p.segment.name, p.offset, err)
	}
	if r.kind != kindEntry || r.group != id || r.index != index || r.term != p.term {
		return nil, fmt.Errorf("damage in %s at %d: not entry %d/%d of group %d", p.segment.name, p.offset, p.term, index, id)
	}
	return r.data, nil
}
