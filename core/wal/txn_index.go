package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/quorate/quorate/core/wal/filecache"
)

// AbortedTransaction is a transaction that was aborted: the records of its producer
// from First to Last are not for readers of committed records.
type AbortedTransaction struct {
	ProducerID int64
	First      int64 // offset of its first record
	Last       int64 // offset of the marker
	LastStable int64 // where the last stable offset was to be behind the marker
}

// AbortedTransactions returns the aborted transactions that have something in the
// offsets from from to before upTo, in the order of their markers. It reads the
// transaction indexes only, and takes no lock.
func (l *Log) AbortedTransactions(from, upTo int64) (found []AbortedTransaction, err error) {
	err = l.stable(func(v *view) error {
		found = found[:0]
		for _, s := range v.segments[v.covering(from):] {
			done, err := s.txns.each(from, func(a AbortedTransaction) bool {
				if a.First < upTo {
					found = append(found, a)
				}
				return a.LastStable >= upTo // whatever was aborted later began behind upTo
			})
			if err != nil {
				return s.corrupt(err)
			}
			if done {
				break
			}
		}
		return nil
	})
	return found, err
}

// An entry of a transaction index, Kafka's version 0, all big endian.
const (
	txnEntrySize    = 34 // version int16, then the fields of AbortedTransaction, int64 each
	txnIndexVersion = 0
)

func (a AbortedTransaction) encode() (e [txnEntrySize]byte) {
	binary.BigEndian.PutUint16(e[:], txnIndexVersion)
	for i, n := range [...]int64{a.ProducerID, a.First, a.Last, a.LastStable} {
		binary.BigEndian.PutUint64(e[2+8*i:], uint64(n))
	}
	return e
}

func decodeAborted(e []byte) (AbortedTransaction, error) {
	if v := binary.BigEndian.Uint16(e); v != txnIndexVersion {
		return AbortedTransaction{}, fmt.Errorf("entry of a transaction index has version %d", v)
	}
	number := func(i int) int64 { return int64(binary.BigEndian.Uint64(e[2+8*i:])) }
	return AbortedTransaction{ProducerID: number(0), First: number(1), Last: number(2), LastStable: number(3)}, nil
}

// txnIndex is the transaction index of a segment: the aborted transactions whose
// markers are in it, in the order of the markers. Most segments have none, and then
// no file. One writer (the log's mutex); readers lock nothing.
type txnIndex struct {
	fsys    FS
	files   *filecache.Cache
	segment string // name of the .log file

	file   *filecache.File // nil while nobody wrote or loaded anything; readers look at n first
	there  bool            // it may be there; the writer's
	n      atomic.Int64    // entries that are in the file and published
	synced atomic.Int64    // how many of them are on stable storage, at least
}

// newTxnIndex returns the index of a segment, by the name of its .log file: without entries.
func newTxnIndex(fsys FS, files *filecache.Cache, segment string) *txnIndex {
	return &txnIndex{fsys: fsys, files: files, segment: segment}
}

// name is that of the file. What may follow .log in the segment's (.cleaned) follows here too.
func (x *txnIndex) name() string {
	i := strings.LastIndex(x.segment, logSuffix)
	return x.segment[:i] + txnIndexSuffix + x.segment[i+len(logSuffix):]
}

// use makes sure that there is a file to work with, which need not be on disk.
func (x *txnIndex) use() {
	if x.file == nil {
		x.file = x.files.LazyCreate(x.fsys, x.name())
	}
}

// count is how many entries there are.
func (x *txnIndex) count() int64 { return x.n.Load() }

// append adds an entry, whose marker is behind that of the last. created says that the
// file may be new, so that the directory has to be synced.
func (x *txnIndex) append(a AbortedTransaction) (created bool, err error) {
	x.use()
	created, x.there = !x.there, true
	e := a.encode()
	n := x.n.Load()
	if _, err := x.file.WriteAt(e[:], n*txnEntrySize); err != nil {
		return created, fmt.Errorf("write transaction index: %w", err)
	}
	x.n.Store(n + 1)
	return created, nil
}

// load takes the entries that are in the file, which is there. usable is false if they
// cannot belong to a segment with the offsets from base to before end.
func (x *txnIndex) load(base, end int64) (usable bool, err error) {
	x.use()
	x.there = true
	size, err := x.file.Size()
	if err != nil {
		return false, err
	}
	n := size / txnEntrySize
	x.n.Store(n)
	if size%txnEntrySize != 0 {
		return false, nil
	}
	last := base - 1
	_, err = x.each(math.MinInt64, func(a AbortedTransaction) bool {
		if usable = a.Last > last && a.Last < end && a.First >= 0 && a.First < a.Last; usable {
			last = a.Last
		}
		return !usable
	})
	switch {
	case errors.Is(err, errTxnEntry):
		return false, nil
	case err != nil:
		return false, err
	}
	x.synced.Store(n)
	return usable || n == 0, nil
}

// errTxnEntry says that an entry cannot be read.
var errTxnEntry = errors.New("damaged transaction index")

// read reads the entries from the i-th on that fit into b.
func (x *txnIndex) read(b []byte, i, n int64) ([]byte, error) {
	b = b[:min(int64(len(b)), (n-i)*txnEntrySize)]
	if m, err := x.file.ReadAt(b, i*txnEntrySize); m < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read transaction index %s: %w", x.name(), err)
	}
	return b, nil
}

// search returns how many entries have their marker before offset.
func (x *txnIndex) search(offset int64) (int64, error) {
	var e [txnEntrySize]byte
	lo, hi := int64(0), x.n.Load()
	for lo < hi {
		mid := (lo + hi) / 2
		b, err := x.read(e[:], mid, mid+1)
		if err != nil {
			return 0, err
		}
		if int64(binary.BigEndian.Uint64(b[18:])) < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// each calls f for the entries whose marker is at from or behind it, until f returns
// true; that is then what each returns.
func (x *txnIndex) each(from int64, f func(AbortedTransaction) (done bool)) (done bool, err error) {
	n := x.n.Load()
	if n == 0 {
		return false, nil
	}
	i, err := x.search(from)
	if err != nil {
		return false, err
	}
	var page [32 * txnEntrySize]byte
	for i < n {
		b, err := x.read(page[:], i, n)
		if err != nil {
			return false, err
		}
		for e := range slices.Chunk(b, txnEntrySize) {
			a, err := decodeAborted(e)
			if err != nil {
				return false, fmt.Errorf("%w: %s: %w", errTxnEntry, x.name(), err)
			}
			if f(a) {
				return true, nil
			}
		}
		i += int64(len(b) / txnEntrySize)
	}
	return false, nil
}

// truncated returns an index without the entries whose marker is at offset or behind
// it. The file is shared; the caller shortens it with cut once nobody new can find x.
func (x *txnIndex) truncated(offset int64) (*txnIndex, error) {
	n, err := x.search(offset)
	if err != nil {
		return nil, err
	}
	c := &txnIndex{fsys: x.fsys, files: x.files, segment: x.segment, file: x.file, there: x.there}
	c.n.Store(n)
	c.synced.Store(min(n, x.synced.Load()))
	return c, nil
}

// cut shortens the file to the entries that there are, durably: what would come back
// after a crash might be taken for entries that were synced.
func (x *txnIndex) cut() error {
	if !x.there {
		return nil
	}
	return errors.Join(x.file.Truncate(x.n.Load()*txnEntrySize), x.file.Sync())
}

// sync makes the entries durable, if there are new ones.
func (x *txnIndex) sync() error {
	n := x.n.Load()
	if n <= x.synced.Load() {
		return nil
	}
	if err := x.file.Sync(); err != nil {
		return err
	}
	x.synced.Store(n)
	return nil
}

func (x *txnIndex) close() error {
	if x.file == nil {
		return nil
	}
	return x.file.Close()
}

// take makes the entries of another index, whose file gets this one's name, those of x.
func (x *txnIndex) take(from *txnIndex) {
	if from.there {
		x.use()
	}
	x.there = from.there
	x.n.Store(from.count())
	x.synced.Store(from.count())
}
