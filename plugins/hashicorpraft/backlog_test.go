package hashicorpraft

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// What the host reads is the log, entry by entry, within the bytes that it asks for,
// and never less than one entry.
func TestEntries(t *testing.T) {
	onBothStores(t, func(t *testing.T, name string) {
		s := openStore(t, name, t.TempDir())
		defer s.wal.Close()
		for index := uint64(1); index <= 100; index++ {
			l := &raft.Log{Index: index, Term: 2, Data: fmt.Appendf(nil, "%0100d", index)}
			if index%10 == 1 {
				l.Type = raft.LogNoop
			}
			if err := s.StoreLog(l); err != nil {
				t.Fatal(err)
			}
		}
		for _, test := range []struct {
			from, last uint64
			bytes      int
			atLeast    int
			atMost     int
		}{
			{1, 100, 1 << 20, 100, 100},
			{1, 100, 1000, 5, 10},
			{42, 100, 1, 1, 1},
			{90, 95, 1 << 20, 6, 6},
			{90, 1000, 1 << 20, 11, 11}, // beyond the end of the log
		} {
			entries, err := s.entries(test.from, test.last, test.bytes)
			if err != nil || len(entries) < test.atLeast || len(entries) > test.atMost {
				t.Errorf("%+v: %d entries, %v", test, len(entries), err)
				continue
			}
			for i, e := range entries {
				index := test.from + uint64(i)
				internal := index%10 == 1
				if e.Index != index || e.Term != 2 || e.Internal != internal || !internal && !bytes.Equal(e.Data, fmt.Appendf(nil, "%0100d", index)) {
					t.Errorf("%+v: entry %d is %+v", test, index, e)
				}
			}
		}
		if err := s.compact(50); err != nil {
			t.Fatal(err)
		}
		for _, from := range []uint64{101, 200} {
			if _, err := s.entries(from, from, 1000); !errors.Is(err, raft.ErrLogNotFound) {
				t.Errorf("entry %d of 100: %v", from, err)
			}
		}
	})
}

// BenchmarkBacklog reads entries of 128 bytes as the host does that comes back.
func BenchmarkBacklog(b *testing.B) {
	for _, name := range []string{storeSegments, storeRaftWAL} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, logFolder), 0o700); err != nil {
				b.Fatal(err)
			}
			w, err := openLog(dir, Options{LogStore: name, LogSegmentBytes: 64 << 20})
			if err != nil {
				b.Fatal(err)
			}
			s := &store{wal: w, fatal: func(err error) { b.Error(err) }}
			defer w.Close()
			const count = 200_000
			data := bytes.Repeat([]byte("x"), 128)
			for index := uint64(1); index <= count; index += 1000 {
				var logs []*raft.Log
				for i := range uint64(1000) {
					logs = append(logs, &raft.Log{Index: index + i, Term: 1, Data: data})
				}
				if err := s.StoreLogs(logs); err != nil {
					b.Fatal(err)
				}
			}
			read := 0
			for b.Loop() {
				for from := uint64(1); from <= count; {
					entries, err := s.entries(from, count, 1<<20)
					if err != nil {
						b.Fatal(err)
					}
					from += uint64(len(entries))
					read += len(entries)
				}
			}
			b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
