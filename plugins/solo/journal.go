package solo

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/quorate/quorate/consensus"
)

// The log file, all numbers little endian:
//
//	header   magic (8), salt (8), base (8): the file's length when it was created, whole
//	records  crc32c (4) over the salt and the rest, length of data (4), durable (8),
//	         index (8), term (8), internal (1), data
//
// durable is the length of the file that was on stable storage when the record
// was written. It tells a torn tail from damage: a bad record is torn, and cut,
// only if neither base nor any record behind it says that it was whole once.
const (
	journalMagic  = "quosolo1"
	journalHeader = 8 + 8 + 8
	recordHeader  = 4 + 4 + 8 + 8 + 8 + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journal is the entries first, first+1, … in a file. Its methods are not safe
// for concurrent use, but readAt is, against an append.
type journal struct {
	f       *os.File
	salt    []byte
	first   uint64
	offsets []int64 // of each entry's record
	terms   []uint64
	end     int64 // of the file; all before it is durable
}

// createJournal writes a journal of entries beside path, makes it durable, and
// renames it to path.
func createJournal(path string, first uint64, entries []consensus.Entry) (*journal, error) {
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, salt: make([]byte, 8), first: first, end: journalHeader}
	if _, err := rand.Read(j.salt); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	buf, offsets, terms := j.encode(entries)
	j.end += int64(len(buf))
	head := append([]byte(journalMagic), j.salt...)
	head = binary.LittleEndian.AppendUint64(head, uint64(j.end))
	if _, err := f.Write(append(head, buf...)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	j.offsets, j.terms = offsets, terms
	if err := publish(f, path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// publish makes f's content durable and then visible as path.
func publish(f *os.File, path string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// openJournal recovers the journal in path; first is its first index if it has
// no entry.
func openJournal(path string, first uint64) (*journal, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) < journalHeader || string(data[:8]) != journalMagic {
		return nil, fmt.Errorf("%w: %s is no log of this version", consensus.ErrStorageFailed, path)
	}
	j := &journal{salt: data[8:16], first: first}
	whole := int64(binary.LittleEndian.Uint64(data[16:])) // anything before it that is bad is damage
	pos := int64(journalHeader)
	for {
		e, durable, size, ok := j.decode(data[pos:])
		if !ok {
			break
		}
		if len(j.offsets) == 0 {
			j.first = e.Index
		}
		if e.Index != j.last()+1 || e.Term < j.term() {
			return nil, fmt.Errorf("%w: %s: entry %d of term %d after entry %d of term %d", consensus.ErrStorageFailed, path, e.Index, e.Term, j.last(), j.term())
		}
		j.offsets, j.terms = append(j.offsets, pos), append(j.terms, e.Term)
		whole, pos = max(whole, durable), pos+size
	}
	for q := pos + 1; q < int64(len(data)) && whole <= pos; q++ {
		if _, durable, _, ok := j.decode(data[q:]); ok {
			whole = max(whole, durable)
		}
	}
	if whole > pos {
		return nil, fmt.Errorf("%w: %s is damaged at byte %d of %d", consensus.ErrStorageFailed, path, pos, len(data))
	}
	if j.f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if err := errors.Join(j.f.Truncate(pos), j.f.Sync()); err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	j.end = pos
	return j, nil
}

// last is the index of the last entry, first-1 if there is none.
func (j *journal) last() uint64 { return j.first + uint64(len(j.offsets)) - 1 }

// term is the last entry's term, 0 if there is none.
func (j *journal) term() uint64 {
	if len(j.terms) == 0 {
		return 0
	}
	return j.terms[len(j.terms)-1]
}

func (j *journal) encode(entries []consensus.Entry) (buf []byte, offsets []int64, terms []uint64) {
	for _, e := range entries {
		start := len(buf)
		offsets, terms = append(offsets, j.end+int64(start)), append(terms, e.Term)
		buf = binary.LittleEndian.AppendUint32(append(buf, 0, 0, 0, 0), uint32(len(e.Data)))
		buf = binary.LittleEndian.AppendUint64(buf, uint64(j.end))
		buf = binary.LittleEndian.AppendUint64(buf, e.Index)
		buf = binary.LittleEndian.AppendUint64(buf, e.Term)
		internal := byte(0)
		if e.Internal {
			internal = 1
		}
		buf = append(append(buf, internal), e.Data...)
		binary.LittleEndian.PutUint32(buf[start:], j.checksum(buf[start:]))
	}
	return buf, offsets, terms
}

func (j *journal) checksum(record []byte) uint32 {
	return crc32.Update(crc32.Checksum(j.salt, castagnoli), castagnoli, record[4:])
}

// decode reads the record that b begins with; ok is false if there is no whole one.
func (j *journal) decode(b []byte) (e consensus.Entry, durable, size int64, ok bool) {
	if len(b) < recordHeader {
		return e, 0, 0, false
	}
	size = recordHeader + int64(binary.LittleEndian.Uint32(b[4:]))
	if size > int64(len(b)) || j.checksum(b[:size]) != binary.LittleEndian.Uint32(b) {
		return e, 0, 0, false
	}
	e = consensus.Entry{Index: binary.LittleEndian.Uint64(b[16:]), Term: binary.LittleEndian.Uint64(b[24:]), Internal: b[32] != 0}
	if size > recordHeader {
		e.Data = b[recordHeader:size:size]
	}
	return e, int64(binary.LittleEndian.Uint64(b[8:])), size, true
}

// write puts entries behind the end of the file and syncs them. The journal does
// not have them before the returned function is called.
func (j *journal) write(entries []consensus.Entry) (commit func(), err error) {
	buf, offsets, terms := j.encode(entries)
	if _, err := j.f.WriteAt(buf, j.end); err != nil {
		return nil, err
	}
	if err := j.f.Sync(); err != nil {
		return nil, err
	}
	return func() {
		j.offsets, j.terms = append(j.offsets, offsets...), append(j.terms, terms...)
		j.end += int64(len(buf))
	}, nil
}

func (j *journal) recordEnd(i int) int64 {
	if i+1 < len(j.offsets) {
		return j.offsets[i+1]
	}
	return j.end
}

// readAt returns entries from index from on, at least one, then up to maxBytes.
func (j *journal) readAt(from uint64, maxBytes int) ([]consensus.Entry, error) {
	i := int(from - j.first)
	start, next := j.offsets[i], i+1
	for next < len(j.offsets) && j.recordEnd(next)-start <= int64(maxBytes) {
		next++
	}
	to := j.recordEnd(next - 1)
	buf := make([]byte, to-start)
	if _, err := j.f.ReadAt(buf, start); err != nil {
		return nil, err
	}
	var entries []consensus.Entry
	for len(buf) > 0 {
		e, _, size, ok := j.decode(buf)
		if !ok {
			return nil, fmt.Errorf("%w: entry %d can not be read back", consensus.ErrStorageFailed, from+uint64(len(entries)))
		}
		entries, buf = append(entries, e), buf[size:]
	}
	return entries, nil
}
