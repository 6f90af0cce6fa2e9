package wal

import (
	"log/slog"
	"math"
	"testing"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// FuzzRecovery opens a log whose files hold anything. It must open or refuse; what
// it then has must be readable and take appends.
func FuzzRecovery(f *testing.F) {
	two := append(append([]byte(nil), batchOf(2, "r", 1)...), batchOf(1, "s", 2)...)
	record.Batch(two[len(batchOf(2, "r", 1)):]).SetBaseOffset(2)
	f.Add(two, []byte{}, []byte{}, []byte{}, []byte("0\n1\n0 0\n"), []byte("0\nstart 0\nrecovery-point 0\n"), []byte(nil))
	f.Add(two, []byte{0, 0, 0, 2, 0, 0, 0, 80}, make([]byte, 12), newProducers(DefaultConfig()).encode(), []byte("0\n0\n"), []byte("0\nstart 1\nrecovery-point 0\n"), cleanMarker{3, 0, int64(len(two))}.encode(checkpointVersion))
	f.Fuzz(func(t *testing.T, log, index, times, snapshot, epochs, check, clean []byte) {
		fsys := disktest.New()
		for name, b := range map[string][]byte{
			offsetName("/t", 0, logSuffix): log, offsetName("/t", 0, indexSuffix): index, offsetName("/t", 0, timeIndexSuffix): times,
			offsetName("/t", 2, snapshotSuffix): snapshot, "/t/" + epochsFile: epochs, "/t/" + checkpointFile: check, "/t/" + cleanFile: clean,
		} {
			if len(b) == 0 && name != offsetName("/t", 0, logSuffix) {
				continue
			}
			if err := disk.WriteFile(fsys, name, b, true); err != nil {
				t.Fatal(err)
			}
		}
		l, err := Open("/t", smallConfig(), slog.New(slog.DiscardHandler), WithFS(fsys))
		if err != nil {
			return
		}
		end := l.End()
		if _, err := l.Read(l.Start(), end, 1<<16, true); err != nil {
			t.Logf("read: %v", err) // a clean log is believed, its damage is found when read
		}
		if _, err := l.AppendAsLeader(math.MaxInt32, batchOf(1, "new", 1)); err != nil {
			t.Fatalf("append: %v", err)
		}
		if b, err := l.Read(end, end+1, 1<<16, true); err != nil || len(b) == 0 {
			t.Fatalf("read what was appended: %d bytes, %v", len(b), err)
		}
		if err := l.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	})
}

// FuzzDecoders reads anything as each of the small files.
func FuzzDecoders(f *testing.F) {
	f.Add(newProducers(DefaultConfig()).encode())
	f.Add([]byte("0\n2\n1 0\n3 17\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, err := decodeSnapshot(b); err == nil && len(entries) > len(b) {
			t.Error("more entries than bytes")
		}
		if epochs, err := decodeEpochs(b); err == nil {
			if again, err := decodeEpochs(encodeEpochs(epochs)); err != nil || len(again) != len(epochs) {
				t.Errorf("round trip of %v: %v, %v", epochs, again, err)
			}
		}
	})
}

// FuzzTxnIndex reads a transaction index whose file holds anything.
func FuzzTxnIndex(f *testing.F) {
	e := AbortedTransaction{ProducerID: 1, First: 2, Last: 5, LastStable: 6}.encode()
	f.Add(e[:], int64(3))
	f.Add(append(e[:], e[:]...), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		fsys := disktest.New()
		if err := disk.WriteFile(fsys, "/x"+txnIndexSuffix, b, false); err != nil {
			t.Fatal(err)
		}
		x := newTxnIndex(fsys, nil, "/x"+logSuffix)
		usable, err := x.load(0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		last := int64(-1)
		_, err = x.each(from, func(a AbortedTransaction) bool {
			if usable && (a.Last <= last || a.Last < from) {
				t.Errorf("%+v after a marker at %d, from %d", a, last, from)
			}
			last = a.Last
			return false
		})
		if usable && err != nil {
			t.Fatal(err)
		}
		if err := x.replace([]AbortedTransaction{{1, 2, 3, 4}}); err != nil || x.count() != 1 {
			t.Fatalf("replace: %v, %d entries", err, x.count())
		}
	})
}

// FuzzIndex looks up in an index whose file holds anything.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 0, 0, 0, 80, 0, 0, 0, 9, 0, 0, 1, 0}, uint32(5))
	f.Fuzz(func(t *testing.T, b []byte, at uint32) {
		for _, width := range []int{offsetEntrySize, timeEntrySize} {
			fsys := disktest.New()
			if err := disk.WriteFile(fsys, "/i", b, false); err != nil {
				t.Fatal(err)
			}
			x := newIndex((*filecache.Cache)(nil).LazyCreate(fsys, "/i"), width, len(b)/width)
			if _, err := x.last(func(e indexEntry) bool { return e.relative > at }); err != nil {
				t.Fatal(err)
			}
			if err := x.append(make([]byte, width)); err != nil || x.count() != len(b)/width+1 {
				t.Fatalf("append: %v, %d entries", err, x.count())
			}
		}
	})
}
