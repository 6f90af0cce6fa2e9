package seglog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

type kind uint8

const (
	kindEntry kind = iota + 1
	kindState
	kindMark
	kindTruncate
	kindDelete
	kindBase
	kindEnd
	kindLimit
)

// markReplaces is the type of a mark record that drops the whole log before it.
// One record says both, so that no crash can come in between.
const markReplaces = 1

const (
	framePrefix  = 8                // len, crc32c
	recordHeader = framePrefix + 30 // up to data
)

// terminator follows the last record, until the next one overwrites it: where a
// file is used again, it tells the end of the log from a torn record.
var terminator = make([]byte, 4)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errNoRecord  = errors.New("no record: zero length")
	errBadRecord = errors.New("length or checksum is wrong")
)

// record is one record of a segment; data aliases what it was decoded from.
type record struct {
	synced      uint32
	kind        kind
	typ         uint8
	group       uint64
	index, term uint64
	data        []byte
}

func (r *record) size() int64 { return int64(recordHeader + len(r.data)) }

// appendRecord appends r as it stands in the segment with this sequence.
func appendRecord(dst []byte, sequence uint64, r *record) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(recordHeader-framePrefix+len(r.data)))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, r.synced)
	dst = append(dst, byte(r.kind), r.typ)
	dst = binary.LittleEndian.AppendUint64(dst, r.group)
	dst = binary.LittleEndian.AppendUint64(dst, r.index)
	dst = binary.LittleEndian.AppendUint64(dst, r.term)
	dst = append(dst, r.data...)
	binary.LittleEndian.PutUint32(dst[start+4:], checksum(sequence, dst[start+framePrefix:]))
	return dst
}

// decodeRecord reads the record at the start of b, which belongs to the segment
// with this sequence. It never reads beyond b and allocates nothing.
func decodeRecord(sequence uint64, b []byte, maxBytes int) (record, int, error) {
	if len(b) < 4 {
		return record{}, 0, errBadRecord
	}
	length := binary.LittleEndian.Uint32(b)
	if length == 0 {
		return record{}, 0, errNoRecord
	}
	n := int64(length) + framePrefix
	if n < recordHeader || n > int64(len(b)) || n > int64(maxBytes) {
		return record{}, 0, errBadRecord
	}
	if k := kind(b[12]); k == 0 || k >= kindLimit {
		return record{}, 0, errBadRecord
	}
	if binary.LittleEndian.Uint32(b[4:]) != checksum(sequence, b[framePrefix:n]) {
		return record{}, 0, errBadRecord
	}
	return record{
		synced: binary.LittleEndian.Uint32(b[8:]),
		kind:   kind(b[12]),
		typ:    b[13],
		group:  binary.LittleEndian.Uint64(b[14:]),
		index:  binary.LittleEndian.Uint64(b[22:]),
		term:   binary.LittleEndian.Uint64(b[30:]),
		data:   b[recordHeader:n:n],
	}, int(n), nil
}

func checksum(sequence uint64, b []byte) uint32 {
	var salt [8]byte
	binary.LittleEndian.PutUint64(salt[:], sequence)
	return crc32.Update(crc32.Checksum(salt[:], castagnoli), castagnoli, b)
}

func stateRecord(group uint64, s State) record {
	return record{
		kind: kindState, group: group, index: s.Commit, term: s.Term,
		data: binary.LittleEndian.AppendUint64(nil, s.Vote),
	}
}

func (r *record) state() (State, bool) {
	if len(r.data) != 8 {
		return State{}, false
	}
	return State{Term: r.term, Commit: r.index, Vote: binary.LittleEndian.Uint64(r.data)}, true
}

func markRecord(group uint64, m Mark) record {
	data := make([]byte, 0, 16+len(m.Data))
	data = binary.LittleEndian.AppendUint64(data, m.CompactedIndex)
	data = binary.LittleEndian.AppendUint64(data, m.CompactedTerm)
	return record{kind: kindMark, group: group, index: m.Index, term: m.Term, data: append(data, m.Data...)}
}

func (r *record) mark() (Mark, bool) {
	if len(r.data) < 16 {
		return Mark{}, false
	}
	return Mark{
		Index: r.index, Term: r.term,
		CompactedIndex: binary.LittleEndian.Uint64(r.data),
		CompactedTerm:  binary.LittleEndian.Uint64(r.data[8:]),
		Data:           append([]byte(nil), r.data[16:]...),
	}, true
}

// baseRecord says all of g but its entries.
func baseRecord(g *group) record {
	m := markRecord(g.id, g.mark)
	data := make([]byte, 0, 40+len(m.data))
	for _, v := range [...]uint64{g.state.Term, g.state.Vote, g.state.Commit, g.mark.Index, g.mark.Term} {
		data = binary.LittleEndian.AppendUint64(data, v)
	}
	return record{kind: kindBase, group: g.id, index: g.last(), data: append(data, m.data...)}
}

func (r *record) base() (State, Mark, bool) {
	if len(r.data) < 56 {
		return State{}, Mark{}, false
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(r.data[8*i:]) }
	inner := record{index: word(3), term: word(4), data: r.data[40:]}
	m, ok := inner.mark()
	return State{Term: word(0), Vote: word(1), Commit: word(2)}, m, ok
}
