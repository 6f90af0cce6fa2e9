package wal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol/record"
)

// content reads a whole span.
func content(t testing.TB, s *Span) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(s, 0, int64(s.Size())))
	if err != nil {
		t.Errorf("read span: %v", err)
	}
	return b
}

// TestSpanIsWhatReadReads compares both for every offset of a log of many segments,
// twice: the second time positions are remembered.
func TestSpanIsWhatReadReads(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig())
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 120 {
		mustAppend(t, l, 0, batchOf(1+random.IntN(4), "record", int64(i)))
	}
	var spans int
	for range 2 {
		for from := int64(0); from <= l.End(); from++ {
			for range 8 {
				upTo, maxBytes, minOne := random.Int64N(l.End()+2), random.IntN(900), random.IntN(2) == 0
				if random.IntN(3) == 0 {
					upTo = l.End()
				}
				want, err := l.Read(from, upTo, maxBytes, minOne)
				if err != nil {
					t.Fatal(err)
				}
				got, err := l.Span(from, upTo, maxBytes, minOne)
				if err != nil {
					t.Fatal(err)
				}
				if b := content(t, got); !bytes.Equal(b, want) {
					t.Fatalf("from %d to %d, %d bytes, one %v: %d bytes, want %d", from, upTo, maxBytes, minOne, len(b), len(want))
				}
				if got != nil {
					spans++
					got.Release()
				}
			}
		}
	}
	if spans == 0 {
		t.Error("no span was ever found")
	}
	if _, err := l.Span(l.End()+1, l.End()+2, 100, true); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("beyond the end: %v", err)
	}
}

// TestSpanAfterTruncate: what was remembered of a log that was cut is forgotten.
func TestSpanAfterTruncate(t *testing.T) {
	l := open(t, t.TempDir(), DefaultConfig())
	for range 10 {
		mustAppend(t, l, 0, batchOf(2, "before", 1))
	}
	for from := range l.End() {
		s, err := l.Span(from, l.End(), 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
	}
	if err := l.Truncate(10); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		mustAppend(t, l, 1, batchOf(3, "after, and longer", 1))
	}
	for from := range l.End() {
		want, err := l.Read(from, l.End(), 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Span(from, l.End(), 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, s); !bytes.Equal(got, want) {
			t.Errorf("from %d: %d bytes, want %d", from, len(got), len(want))
		}
		s.Release()
	}
}

// TestSpanOutlivesItsSegment deletes a segment, and the whole log, under a span.
func TestSpanOutlivesItsSegment(t *testing.T) {
	for name, remove := range map[string]func(*Log) error{
		"retention": func(l *Log) error { return l.SetStart(l.End() - 1) },
		"reset":     func(l *Log) error { return l.Reset(l.End() + 100) },
		"delete":    func(l *Log) error { return l.Delete() },
		"close":     func(l *Log) error { return l.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, t.TempDir(), smallConfig())
			for i := range 50 {
				mustAppend(t, l, 0, batchOf(2, "record", int64(i)))
			}
			want, err := l.Read(0, l.End(), 1<<20, true)
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.Span(0, l.End(), 1<<20, true)
			if err != nil {
				t.Fatal(err)
			}
			if err := remove(l); err != nil {
				t.Fatal(err)
			}
			if got := content(t, s); !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d", len(got), len(want))
			}
			s.Release()
			s.Release() // the second time does nothing
			if _, err := s.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("the file is still open after the release: %v", err)
			}
		})
	}
}

// TestSpansBesideEverything is TestReadersBesideEverything for spans, without what
// takes away records that readers were promised.
func TestSpansBesideEverything(t *testing.T) {
	l := open(t, t.TempDir(), smallConfig(), WithFiles(filecache.New(3)))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				from := max(l.Start(), l.End()-100)
				s, err := l.Span(from, l.End(), 700, true)
				if err != nil || s == nil {
					if err != nil && !errors.Is(err, ErrOffsetOutOfRange) {
						t.Errorf("span at %d: %v", from, err)
					}
					continue
				}
				next := int64(-1)
				for batch, err := range record.Split(content(t, s)) {
					if err != nil || !batch.CheckCRC() || next >= 0 && batch.BaseOffset() != next || batch.LastOffset() < from {
						t.Errorf("span at %d: batch instead of %d, %v", from, next, err)
						break
					}
					next = batch.LastOffset() + 1
				}
				s.Release()
			}
		})
	}
	for i := range 3000 {
		mustAppend(t, l, 0, batchOf(i%3+1, "r", int64(i)))
		if i%61 == 0 {
			if err := l.SetStart(max(l.Start(), l.End()-90)); err != nil {
				t.Error(err)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
}

// BenchmarkSpan is a reader at the tail, and one anywhere, beside BenchmarkRead.
func BenchmarkSpan(b *testing.B) {
	l := openBench(b)
	for range 20_000 {
		if _, err := l.AppendAsLeader(0, kilobyte(-1)); err != nil {
			b.Fatal(err)
		}
	}
	for name, from := range map[string]func(i int64) int64{
		"tail":     func(int64) int64 { return l.End() - 1 },
		"anywhere": func(i int64) int64 { return i % 19_000 },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i += 7919 {
				s, err := l.Span(from(i), l.End(), 1<<20, true)
				if err != nil || s == nil {
					b.Fatal(err)
				}
				s.Release()
			}
		})
	}
}
