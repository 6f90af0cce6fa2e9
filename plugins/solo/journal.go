package solo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"

	"github.com/quorate/quorate/consensus"
)

type entryHead struct {
	Index, Term uint64
	Internal    bool
	Size        uint32 // of the data that follows
}

const recordSize, entrySize = 8 + 4 + 8, 8 + 8 + 1 + 4

var (
	little     = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// journal is the file and what is in it; see the package comment.
type journal struct {
	f       *os.File
	end     int64                  // of the file; all before it is durable
	meta    consensus.SnapshotMeta // of the newest snapshot; Index 0 = none
	content int64                  // where in the file the snapshot's content is
	entries []consensus.Entry      // those behind it, dense
}

// The log follows on the snapshot.
func (j *journal) first() uint64 { return j.meta.Index + 1 }
func (j *journal) last() uint64  { return j.meta.Index + uint64(len(j.entries)) }

// term is that of the last entry, or the snapshot's.
func (j *journal) term() uint64 {
	if len(j.entries) == 0 {
		return j.meta.Term
	}
	return j.entries[len(j.entries)-1].Term
}

// createJournal writes a journal beside path, to be renamed.
func createJournal(path string, m consensus.SnapshotMeta, content []byte, entries []consensus.Entry) (*journal, error) {
	f, err := os.OpenFile(path+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, entries: slices.Clone(entries)}
	snapshot := consensus.Entry{Index: m.Index, Term: m.Term, Data: slices.Concat([]byte(m.Format), []byte{0}, content)}
	for _, record := range [][]consensus.Entry{{snapshot}, entries, nil} {
		n, err := j.append(record)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		j.end += n
	}
	j.begin(snapshot)
	return j, nil
}

// begin takes the first record's entry, which is the snapshot.
func (j *journal) begin(e consensus.Entry) {
	format, content, _ := bytes.Cut(e.Data, []byte{0})
	j.meta = consensus.SnapshotMeta{Index: e.Index, Term: e.Term, Format: string(format), Size: uint64(len(content))}
	j.content = int64(recordSize + entrySize + len(format) + 1)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// append makes a record of entries durable, and returns its size. The caller adds
// it to j.end and the entries to j.entries, under the lock of those who read them.
func (j *journal) append(entries []consensus.Entry) (n int64, err error) {
	record := make([]byte, recordSize)
	for _, e := range entries {
		if record, err = binary.Append(record, little, entryHead{e.Index, e.Term, e.Internal, uint32(len(e.Data))}); err != nil {
			return 0, err
		}
		record = append(record, e.Data...)
	}
	little.PutUint64(record, uint64(len(record)-recordSize))
	little.PutUint64(record[12:], uint64(j.end))
	little.PutUint32(record[8:], crc32.Checksum(record[12:], castagnoli))
	if _, err := j.f.WriteAt(record, j.end); err != nil {
		return 0, err
	}
	return int64(len(record)), j.f.Sync()
}

// openJournal recovers a journal. What is bad at its end was being written when
// the process or the machine ended, and was never acknowledged: it is cut off.
// If there is a good record behind, it was good once, and acknowledged.
func openJournal(path string) (*journal, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	j := &journal{}
	for {
		payload, ok := recordAt(data, j.end)
		if !ok {
			break
		}
		if err := j.take(payload); err != nil {
			return nil, fmt.Errorf("%s, at byte %d: %w", path, j.end, err)
		}
		j.end += int64(recordSize + len(payload))
	}
	damaged := j.end == 0
	for pos := j.end + 1; pos < int64(len(data)) && !damaged; pos++ {
		_, damaged = recordAt(data, pos)
	}
	if damaged {
		return nil, fmt.Errorf("%s is damaged at byte %d of %d", path, j.end, len(data))
	}
	if j.f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	if err := errors.Join(j.f.Truncate(j.end), j.f.Sync()); err != nil {
		return nil, errors.Join(err, j.f.Close())
	}
	return j, nil
}

// recordAt returns what follows the head of the record at pos, if it is a good one.
func recordAt(data []byte, pos int64) (payload []byte, ok bool) {
	b := data[pos:]
	if len(b) < recordSize || little.Uint64(b[12:]) != uint64(pos) || little.Uint64(b) > uint64(len(b)-recordSize) {
		return nil, false
	}
	b = b[:recordSize+little.Uint64(b)]
	return b[recordSize:], crc32.Checksum(b[12:], castagnoli) == little.Uint32(b[8:])
}

// take reads the entries of a record. The checksum was right, so they are whole.
func (j *journal) take(payload []byte) error {
	for len(payload) > 0 {
		var h entryHead
		if _, err := binary.Decode(payload, little, &h); err != nil {
			return err
		}
		e := consensus.Entry{Index: h.Index, Term: h.Term, Internal: h.Internal, Data: bytes.Clone(payload[entrySize : entrySize+h.Size])}
		payload = payload[entrySize+h.Size:]
		if j.end == 0 {
			j.begin(e)
			continue
		}
		if e.Index != j.last()+1 || e.Term < j.term() {
			return fmt.Errorf("entry %d of term %d after entry %d of term %d", e.Index, e.Term, j.last(), j.term())
		}
		j.entries = append(j.entries, e)
	}
	return nil
}
