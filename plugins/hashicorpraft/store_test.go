package hashicorpraft

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// onBothStores runs a test on everything that the log can be kept in.
func onBothStores(t *testing.T, test func(t *testing.T, name string)) {
	for _, name := range []string{storeSegments, storeRaftWAL} {
		t.Run(name, func(t *testing.T) { test(t, name) })
	}
}

// smallLog has segments that are made fast.
func smallLog(name string) Options { return Options{LogStore: name, LogSegmentBytes: 1 << 20} }

// openStore opens the store in a group's folder; it fails the test if the store
// gives up.
func openStore(t *testing.T, name, dir string) *store {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, logFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := openLog(dir, smallLog(name))
	if err != nil {
		t.Fatal(err)
	}
	return &store{wal: w, fatal: func(err error) { t.Errorf("fatal: %v", err) }}
}

func fill(t *testing.T, s *store, from, to, term uint64) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: term, Data: []byte("entry")}); err != nil {
			t.Fatal(err)
		}
	}
}

func wantTerms(t *testing.T, s *store, first, last uint64, term func(uint64) uint64) {
	t.Helper()
	gotFirst, gotLast, err := s.bounds()
	if err != nil || gotFirst != first || gotLast != last {
		t.Fatalf("got entries %d to %d, %v, want %d to %d", gotFirst, gotLast, err, first, last)
	}
	for i := first; last > 0 && i <= last; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil || l.Term != term(i) {
			t.Fatalf("entry %d: term %d, %v, want %d", i, l.Term, err, term(i))
		}
	}
}

// raft-wal alone can not read the log again after its end was cut off.
func TestLogIsReadableAfterItsEndWasCutOff(t *testing.T) {
	onBothStores(t, logIsReadableAfterItsEndWasCutOff)
}

func logIsReadableAfterItsEndWasCutOff(t *testing.T, name string) {
	dir := t.TempDir()
	s := openStore(t, name, dir)
	fill(t, s, 1, 20, 1)
	term := func(i uint64) uint64 { return 1 + min(1, i/16) }
	for range 3 {
		if err := s.DeleteRange(16, 20); err != nil {
			t.Fatal(err)
		}
		fill(t, s, 16, 20, 2)
		wantTerms(t, s, 1, 20, term)
		if err := s.wal.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, name, dir)
		wantTerms(t, s, 1, 20, term)
	}
	if err := s.wal.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotAndLog(t *testing.T) { onBothStores(t, snapshotAndLog) }

func snapshotAndLog(t *testing.T, name string) {
	tests := []struct {
		name        string
		last        uint64 // the log has entries 1 to last, of term 1
		index, term uint64 // of the snapshot
		first, end  uint64 // what is left of the log if the snapshot is found at the start
		installed   uint64 // where what is left begins if it is installed; 0 = nothing is left
	}{
		{name: "of the same history", last: 20, index: 10, term: 1, first: 1, end: 20, installed: 11},
		{name: "beyond the end", last: 5, index: 10, term: 1},
		{name: "at the end", last: 10, index: 10, term: 1, first: 1, end: 10},
		{name: "of another history", last: 20, index: 10, term: 2, first: 11, end: 20, installed: 11},
		{name: "an empty log", last: 0, index: 10, term: 1},
	}
	one := func(uint64) uint64 { return 1 }
	for _, tt := range tests {
		t.Run(tt.name+", at the start", func(t *testing.T) {
			s := openStore(t, name, t.TempDir())
			fill(t, s, 1, tt.last, 1)
			if err := s.cover(tt.index, tt.term, configuration{}); err != nil {
				t.Fatal(err)
			}
			wantTerms(t, s, tt.first, tt.end, one)
			goesOn(t, s, max(tt.end, tt.index), tt.index, tt.term)
		})
		t.Run(tt.name+", installed", func(t *testing.T) {
			s := openStore(t, name, t.TempDir())
			fill(t, s, 1, tt.last, 1)
			s.install(tt.index, tt.term, configuration{})
			if first, err := s.firstReadable(); err != nil || first <= tt.index {
				t.Fatalf("entry %d is readable, %v, before the log was cleared", first, err)
			}
			first, last, err := s.bounds() // what the library asks for is to clear the log
			if err != nil {
				t.Fatal(err)
			}
			if err := s.DeleteRange(first, last); err != nil {
				t.Fatal(err)
			}
			if tt.installed > 0 {
				wantTerms(t, s, tt.installed, tt.last, one)
			} else {
				wantTerms(t, s, 0, 0, one)
			}
			goesOn(t, s, max(tt.last, tt.index), tt.index, tt.term)
		})
	}
}

// goesOn checks that the log takes an entry behind last, and that the snapshot's
// own position has its term.
func goesOn(t *testing.T, s *store, last, index, term uint64) {
	t.Helper()
	var l raft.Log
	if err := s.GetLog(index, &l); err != nil || l.Term != term {
		t.Fatalf("the snapshot's own position: term %d, %v, want %d", l.Term, err, term)
	}
	fill(t, s, last+1, last+2, 3)
	if err := s.wal.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCompactKeepsTheLastEntry(t *testing.T) { onBothStores(t, compactKeepsTheLastEntry) }

func compactKeepsTheLastEntry(t *testing.T, name string) {
	s := openStore(t, name, t.TempDir())
	fill(t, s, 1, 10, 1)
	if err := s.cover(10, 1, configuration{}); err != nil {
		t.Fatal(err)
	}
	if err := s.compact(10); err != nil {
		t.Fatal(err)
	}
	wantTerms(t, s, 10, 10, func(uint64) uint64 { return 1 })
	var l raft.Log
	if err := s.GetLog(9, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Fatalf("entry 9 was compacted away: %v", err)
	}
	if err := s.wal.Close(); err != nil {
		t.Fatal(err)
	}
}

// A stop is no failure: whoever still reads then does not end the process.
func TestUseAfterCloseIsNotFatal(t *testing.T) { onBothStores(t, useAfterCloseIsNotFatal) }

func useAfterCloseIsNotFatal(t *testing.T, name string) {
	s := openStore(t, name, t.TempDir())
	fill(t, s, 1, 3, 1)
	if err := s.wal.Close(); err != nil {
		t.Fatal(err)
	}
	var l raft.Log
	for name, err := range map[string]error{"read": s.GetLog(1, &l), "append": s.StoreLog(&raft.Log{Index: 4}), "compact": s.compact(2)} {
		if !errors.Is(err, consensus.ErrShuttingDown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
