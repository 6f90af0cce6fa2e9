package seglog

import (
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
)

// readsCounted counts the reads of the files of a file system.
type readsCounted struct {
	FS
	reads *atomic.Int64
}

type countedFile struct {
	File
	reads *atomic.Int64
}

func (c readsCounted) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	return countedFile{f, c.reads}, err
}

func (f countedFile) ReadAt(p []byte, off int64) (int, error) {
	f.reads.Add(1)
	return f.File.ReadAt(p, off)
}

// A backlog that is on the disk only is read in pages, over segments, between other
// groups' entries, and around entries that are larger than a page.
func TestBacklogIsReadInPages(t *testing.T) {
	var reads atomic.Int64
	cfg := DefaultConfig()
	cfg.CacheBytes, cfg.SegmentBytes = 0, 1<<20
	l := mustOpen(t, t.TempDir(), cfg, readsCounted{OS(), &reads})
	const count = 4000
	want := func(index uint64) string {
		size := 100 + int(index%50)
		if index%1000 == 0 {
			size = pageBytes + 10_000
		}
		return strings.Repeat(string(rune('a'+index%26)), size)
	}
	for index := uint64(1); index <= count; index++ {
		batch := []Write{{Group: 1, Entries: []Entry{entry(index, 1, want(index))}}}
		if index%7 == 0 {
			batch = append(batch, Write{Group: 2, Entries: []Entry{entry(index/7, 1, "other")}})
		}
		if err := l.Append(index == count, batch...); err != nil {
			t.Fatal(err)
		}
	}
	before := reads.Load()
	for from := uint64(1); from <= count; {
		entries, err := l.Entries(1, from, count+1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Index != from || string(e.Data) != want(from) {
				t.Fatalf("entry %d is entry %d of %d bytes", from, e.Index, len(e.Data))
			}
			from++
		}
	}
	if n := reads.Load() - before; n > 40 {
		t.Errorf("%d entries of 1.6 MiB took %d reads", count, n)
	}
}

// BenchmarkBacklog reads entries of 128 bytes from the disk.
func BenchmarkBacklog(b *testing.B) {
	cfg := DefaultConfig()
	cfg.CacheBytes = 0
	l, err := Open(b.TempDir(), cfg, OS(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const count = 100_000
	data := strings.Repeat("x", 128)
	for index := uint64(1); index <= count; index += 1000 {
		w := Write{Group: 1}
		for i := range uint64(1000) {
			w.Entries = append(w.Entries, entry(index+i, 1, data))
		}
		if err := l.Append(false, w); err != nil {
			b.Fatal(err)
		}
	}
	read := 0
	for b.Loop() {
		for from := uint64(1); from <= count; {
			entries, err := l.Entries(1, from, count+1, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			from += uint64(len(entries))
			read += len(entries)
		}
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "entries/s")
}
