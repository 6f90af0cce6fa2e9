package seglog

import (
	"fmt"
	"slices"
)

// Entry is one entry of a group's log.
type Entry struct {
	Index, Term uint64
	Type        uint8 // the caller's own
	Data        []byte
}

// State is a group's hard state.
type State struct {
	Term, Vote, Commit uint64
}

// Mark says that a group's newest snapshot is at Index, and up to where its
// entries are dropped. The zero Index means that there is no snapshot and only
// Data counts.
type Mark struct {
	Index, Term uint64
	// CompactedIndex is the last entry that is dropped, at most Index. If the
	// log's entry there is of another term than CompactedTerm, or is not there,
	// the whole log is dropped and goes on behind CompactedIndex.
	CompactedIndex, CompactedTerm uint64
	Data                          []byte // the caller's own
}

// group is the memory of one group. Log.mu guards it.
type group struct {
	id      uint64
	state   State
	mark    Mark
	entries []position // entries[i] is that of index mark.CompactedIndex+1+i
	bytes   int64      // of entries' data
}

// position tells where an entry is.
type position struct {
	segment *segment // nil while recovering, if the segment is gone
	offset  int64    // of the record
	length  uint32   // of the data
	typ     uint8
	term    uint64
	data    []byte // nil if not cached
}

func (g *group) first() uint64 { return g.mark.CompactedIndex + 1 }

func (g *group) last() uint64 { return g.mark.CompactedIndex + uint64(len(g.entries)) }

func (g *group) at(index uint64) *position { return &g.entries[index-g.first()] }

func (g *group) has(index uint64) bool { return index >= g.first() && index <= g.last() }

// apply takes one record, while recovering as while appending. at is where the
// record stands.
func (g *group) apply(r *record, s *segment, offset int64) error {
	switch r.kind {
	case kindEntry:
		return g.append(r, s, offset)
	case kindTruncate:
		return g.truncate(r.index)
	case kindState:
		state, ok := r.state()
		if !ok {
			return fmt.Errorf("hard state of %d bytes", len(r.data))
		}
		g.state = state
		return nil
	case kindMark:
		m, ok := r.mark()
		if !ok {
			return fmt.Errorf("snapshot mark of %d bytes", len(r.data))
		}
		return g.setMark(m, r.typ == markReplaces)
	case kindBase:
		return g.rebase(r)
	default:
		return fmt.Errorf("record of kind %d", r.kind)
	}
}

func (g *group) append(r *record, s *segment, offset int64) error {
	if r.index != g.last()+1 {
		return fmt.Errorf("entry %d after entry %d", r.index, g.last())
	}
	g.entries = append(g.entries, position{
		segment: s, offset: offset, length: uint32(len(r.data)), typ: r.typ, term: r.term,
	})
	g.bytes += int64(len(r.data))
	s.live++
	return nil
}

func (g *group) truncate(from uint64) error {
	if from < g.first() || from > g.last()+1 {
		return fmt.Errorf("truncate from %d, the log has %d to %d", from, g.first(), g.last())
	}
	keep := int(from - g.first())
	g.drop(g.entries[keep:])
	clear(g.entries[keep:])
	g.entries = g.entries[:keep]
	return nil
}

func (g *group) setMark(m Mark, replaces bool) error {
	if err := g.checkMark(m); err != nil {
		return err
	}
	var keep []position
	if !replaces && m.CompactedIndex < g.last() {
		keep = g.entries[m.CompactedIndex-g.mark.CompactedIndex:]
	}
	dropped := len(g.entries) - len(keep)
	g.drop(g.entries[:dropped])
	if dropped > 0 {
		g.entries = slices.Clone(keep) // lets go of the old array
	}
	g.mark = m
	return nil
}

func (g *group) checkMark(m Mark) error {
	if m.CompactedIndex < g.mark.CompactedIndex || m.Index < g.mark.Index || m.CompactedIndex > m.Index {
		return fmt.Errorf("snapshot mark %d, compacted to %d, after %d, compacted to %d",
			m.Index, m.CompactedIndex, g.mark.Index, g.mark.CompactedIndex)
	}
	return nil
}

// replaces tells whether mark m is for another log than this one: its entries
// are to be dropped.
func (g *group) replaces(m Mark) bool {
	if m.CompactedIndex == g.mark.CompactedIndex {
		return m.CompactedTerm != g.mark.CompactedTerm
	}
	return !g.has(m.CompactedIndex) || g.at(m.CompactedIndex).term != m.CompactedTerm
}

// rebase takes the base record at the head of a segment. For a group not seen
// before, its entries up to the base's index are in segments that are gone.
func (g *group) rebase(r *record) error {
	state, m, ok := r.base()
	if !ok || m.CompactedIndex > r.index || r.index-m.CompactedIndex > 1<<32 {
		return fmt.Errorf("base record of group %d is malformed", r.group)
	}
	fresh := g.last() == 0 && g.mark.Index == 0 && g.state == State{}
	if fresh {
		g.state, g.mark = state, m
		g.entries = make([]position, r.index-m.CompactedIndex)
		return nil
	}
	if g.last() != r.index || g.mark.CompactedIndex != m.CompactedIndex || g.state != state {
		return fmt.Errorf("base record says %d to %d, %+v; the records before it %d to %d, %+v",
			m.CompactedIndex, r.index, state, g.mark.CompactedIndex, g.last(), g.state)
	}
	return nil
}

func (g *group) drop(ps []position) {
	for i := range ps {
		g.bytes -= int64(ps[i].length)
		if s := ps[i].segment; s != nil {
			s.live--
		}
	}
}

// missing returns the first index whose entry is in no segment, or 0.
func (g *group) missing() uint64 {
	for i := range g.entries {
		if g.entries[i].segment == nil {
			return g.first() + uint64(i)
		}
	}
	return 0
}
