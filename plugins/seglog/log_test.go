package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

func mustOpen(t *testing.T, dir string, cfg Config, fs FS) *Log {
	t.Helper()
	l, err := open(dir, cfg, fs, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func mustAppend(t *testing.T, l *Log, batch ...Write) {
	t.Helper()
	if err := l.Append(true, batch...); err != nil {
		t.Fatal(err)
	}
}

func entry(index, term uint64, data string) Entry {
	return Entry{Index: index, Term: term, Data: []byte(data)}
}

func TestAppendRefusesWhatDoesNotFit(t *testing.T) {
	l := mustOpen(t, t.TempDir(), testConfig(), OS())
	mustAppend(t, l, Write{Group: 1, Mark: &Mark{Index: 5, Term: 1, CompactedIndex: 5, CompactedTerm: 1}, Entries: []Entry{entry(6, 1, "a")}})
	tests := []struct {
		name  string
		batch []Write
		want  string
	}{
		{"gap", []Write{{Group: 1, Entries: []Entry{entry(8, 1, "")}}}, "entry 8, the log has 6 to 6"},
		{"gap inside", []Write{{Group: 1, Entries: []Entry{entry(7, 1, ""), entry(9, 1, "")}}}, "entry 9 after entry 7"},
		{"compacted", []Write{{Group: 1, Entries: []Entry{entry(5, 2, "")}}}, "entry 5, the log has 6 to 6"},
		{"truncate beyond", []Write{{Group: 1, Truncate: 9}}, "entry 9, the log has 6 to 6"},
		{"older mark", []Write{{Group: 1, Mark: &Mark{Index: 4, CompactedIndex: 4}}}, "snapshot mark 4"},
		{"compacted beyond the snapshot", []Write{{Group: 1, Mark: &Mark{Index: 6, CompactedIndex: 7}}}, "compacted to 7"},
		{"twice", []Write{{Group: 1}, {Group: 1}}, "named twice"},
		{"new group does not start at 1", []Write{{Group: 2, Entries: []Entry{entry(2, 1, "")}}}, "entry 2, the log has 1 to 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := l.Append(true, tt.batch...)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
	big := Entry{Index: 7, Term: 1, Data: make([]byte, testConfig().MaxRecordBytes)}
	if err := l.Append(true, Write{Group: 1, Entries: []Entry{big}}); !errors.Is(err, ErrInvalid) {
		t.Fatalf("record over the limit: %v", err)
	}
	mustAppend(t, l, Write{Group: 1, Entries: []Entry{entry(7, 1, "b")}})
}

func TestReadsComeFromCacheAndFromSegments(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, testConfig(), OS())
	for i := uint64(1); i <= 100; i++ {
		mustAppend(t, l, Write{Group: 1, Entries: []Entry{entry(i, i/10, fmt.Sprintf("entry %060d", i))}})
	}
	check := func(l *Log) {
		for lo := uint64(1); lo <= 100; lo++ {
			es, err := l.Entries(1, lo, 101, 500)
			if err != nil || len(es) == 0 || len(es) > 7 {
				t.Fatalf("from %d: %d entries, %v", lo, len(es), err)
			}
			for i, e := range es {
				if want := fmt.Sprintf("entry %060d", lo+uint64(i)); string(e.Data) != want || e.Term != e.Index/10 {
					t.Fatalf("got %+v, want %s", e, want)
				}
			}
		}
	}
	check(l)
	if l.cache.bytes > l.cache.limit {
		t.Errorf("cache holds %d bytes, limit %d", l.cache.bytes, l.cache.limit)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, testConfig(), OS())
	check(l)
	if got := l.IndexForBytes(1, 100, 200); got != 98 { // 66 bytes each
		t.Errorf("index for 200 bytes: %d, want 98", got)
	}
	for _, tt := range []struct {
		lo, hi uint64
		want   error
	}{{0, 5, ErrCompacted}, {99, 102, ErrUnavailable}, {101, 102, ErrUnavailable}} {
		if _, err := l.Entries(1, tt.lo, tt.hi, 100); !errors.Is(err, tt.want) {
			t.Errorf("entries [%d, %d): %v, want %v", tt.lo, tt.hi, err, tt.want)
		}
	}
}

func TestSegmentsAreReleasedWhenAllGroupsMovedOn(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, testConfig(), OS())
	mustAppend(t, l, Write{Group: 2, Entries: []Entry{entry(1, 1, "holds the first segment")}})
	for i := uint64(1); i <= 200; i++ {
		mustAppend(t, l, Write{Group: 1, Entries: []Entry{entry(i, 1, strings.Repeat("x", 100))}})
	}
	mark := func(i uint64) *Mark { return &Mark{Index: i, Term: 1, CompactedIndex: i, CompactedTerm: 1} }
	mustAppend(t, l, Write{Group: 1, Mark: mark(199)})
	if n := countSegments(t, dir); n < 10 {
		t.Errorf("%d segments while group 2 needs the first", n)
	}
	mustAppend(t, l, Write{Group: 2, Mark: mark(1)})
	if n := countSegments(t, dir); n > 2 {
		t.Errorf("%d segments left", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, testConfig(), OS())
	if info, _ := l.Info(1); info.First != 200 || info.Last != 200 {
		t.Errorf("group 1 after recovery: %+v", info)
	}
}

func countSegments(t *testing.T, dir string) (n int) {
	t.Helper()
	names, err := OS().List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, ok := parseSegmentName(name); ok {
			n++
		}
	}
	return n
}

func TestDamageIsRefusedWithFileAndOffset(t *testing.T) {
	build := func(t *testing.T) string {
		dir := t.TempDir()
		l := mustOpen(t, dir, testConfig(), OS())
		for i := uint64(1); i <= 60; i++ {
			mustAppend(t, l, Write{Group: 1, Entries: []Entry{entry(i, 1, strings.Repeat("x", 100))}})
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	flip := func(t *testing.T, path string, offset int64) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[offset] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		damage func(t *testing.T, dir string, segments int)
		want   string
	}{
		{"bit in an old segment", func(t *testing.T, dir string, _ int) {
			flip(t, filepath.Join(dir, segmentName(2)), 200)
		}, "damage in 0000000000000002.seg at "},
		{"header of an old segment", func(t *testing.T, dir string, _ int) {
			flip(t, filepath.Join(dir, segmentName(2)), 3)
		}, "damage in 0000000000000002.seg at 0: not a segment"},
		{"header of the last segment", func(t *testing.T, dir string, n int) {
			flip(t, filepath.Join(dir, segmentName(uint64(n))), 18)
		}, "at 0: sequence"},
		{"synced bit in the last segment", func(t *testing.T, dir string, n int) {
			flip(t, filepath.Join(dir, segmentName(uint64(n))), 130)
		}, "a valid record follows at"},
		{"segment missing", func(t *testing.T, dir string, _ int) {
			if err := os.Remove(filepath.Join(dir, segmentName(2))); err != nil {
				t.Fatal(err)
			}
		}, "segment 0000000000000002.seg is missing"},
		{"first segment missing", func(t *testing.T, dir string, _ int) {
			if err := os.Remove(filepath.Join(dir, segmentName(1))); err != nil {
				t.Fatal(err)
			}
		}, "entry 1 of group 1 is in no segment"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := build(t)
			tt.damage(t, dir, countSegments(t, dir))
			_, err := Open(dir, testConfig(), OS(), quiet)
			if !errors.Is(err, consensus.ErrStorageFailed) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A batch of which only a later part reached the disk must not come back to
// life once something of the same length was written where it was torn.
func TestTornBatchDoesNotComeBack(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, testConfig(), OS())
	mustAppend(t, l, Write{Group: 1, Entries: []Entry{entry(1, 1, "kept")}})
	torn := l.end
	if err := l.Append(false, Write{Group: 1, Entries: []Entry{entry(2, 1, "torn"), entry(3, 1, "late")}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, l.active.name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	late := bytes.Clone(b[torn+int64(recordHeader)+4:])
	clear(b[torn : torn+20])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, testConfig(), OS())
	mustAppend(t, l, Write{Group: 1, Entries: []Entry{entry(2, 2, "mine")}})
	// as if the last bytes of that write, which are zeros, had been torn off
	if _, err := l.active.file.WriteAt(late[:4], l.end); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, testConfig(), OS())
	if info, _ := l.Info(1); info.Last != 2 {
		t.Fatalf("last entry is %d, want 2", info.Last)
	}
}

func TestFailureIsForEver(t *testing.T) {
	disk := newCrashFS(rand.New(rand.NewPCG(1, 1)))
	l := mustOpen(t, "/log", testConfig(), disk)
	disk.budget = 1 // the write works, the sync does not
	w := Write{Group: 1, Entries: []Entry{entry(1, 1, "a")}}
	if err := l.Append(true, w); !errors.Is(err, consensus.ErrStorageFailed) {
		t.Fatalf("failed sync: %v", err)
	}
	disk.budget = 100
	for range 3 {
		if err := l.Append(true, Write{Group: 1, State: &State{Term: 1}}); !errors.Is(err, consensus.ErrStorageFailed) {
			t.Fatalf("after a failed sync: %v", err)
		}
	}
}

func TestSparesAreFilledAheadAndUsedAgain(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(dir, testConfig(), OS(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	ready := func() bool {
		l.spares.mu.Lock()
		defer l.spares.mu.Unlock()
		return len(l.spares.ready) == 1
	}
	for deadline := time.Now().Add(10 * time.Second); !ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no spare was prepared")
		}
	}
	for i := uint64(1); i <= 100; i++ {
		mark := &Mark{Index: i, Term: 1, CompactedIndex: i, CompactedTerm: 1}
		mustAppend(t, l, Write{Group: 1, Entries: []Entry{entry(i, 1, strings.Repeat("y", 200))}})
		mustAppend(t, l, Write{Group: 1, Mark: mark})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := OS().List(dir)
	if err != nil || len(names) > 4 {
		t.Errorf("files left: %v, %v", names, err)
	}
	l = mustOpen(t, dir, testConfig(), OS())
	if info, _ := l.Info(1); info.Mark.Index != 100 {
		t.Errorf("after recovery: %+v", info)
	}
}

func TestReadersAndWriterAtOnce(t *testing.T) {
	l, err := Open(t.TempDir(), testConfig(), OS(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				info, _ := l.Info(1)
				es, err := l.Entries(1, info.First, info.Last+1, 4096)
				if err != nil && !errors.Is(err, ErrCompacted) && !errors.Is(err, ErrUnavailable) {
					t.Error(err)
					return
				}
				for i, e := range es {
					if e.Index != info.First+uint64(i) || !bytes.HasPrefix(e.Data, fmt.Appendf(nil, "%d:", e.Index)) {
						t.Errorf("entry %d: %q", e.Index, e.Data)
						return
					}
				}
			}
		})
	}
	for i := uint64(1); i <= 400; i++ {
		w := Write{Group: 1, Entries: []Entry{entry(i, 1, fmt.Sprintf("%d:%s", i, strings.Repeat("z", 90)))}}
		if i > 40 && i%10 == 0 {
			w.Mark = &Mark{Index: i - 1, Term: 1, CompactedIndex: i - 30, CompactedTerm: 1}
		}
		mustAppend(t, l, w)
	}
	close(stop)
	wg.Wait()
}

func FuzzDecodeRecord(f *testing.F) {
	for k := kindEntry; k < kindLimit; k++ {
		f.Add(appendRecord(nil, 7, &record{kind: k, group: 1, index: 2, term: 3, data: make([]byte, 56)}))
	}
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := decodeRecord(7, b, 1<<20)
		if err != nil {
			return
		}
		if again := appendRecord(nil, 7, &r); !bytes.Equal(again, b[:n]) {
			t.Fatalf("%x decoded and encoded is %x", b[:n], again)
		}
		g := &group{id: r.group}
		_ = g.apply(&r, &segment{}, 0) // whatever it says, no panic
	})
}

// FuzzRecovery gives Open a last segment with any content behind its header.
func FuzzRecovery(f *testing.F) {
	f.Add([]byte{}, []byte{})
	a := record{kind: kindEntry, group: 1, index: 1, term: 1, data: []byte("a")}
	f.Add(appendRecord(nil, 1, &a), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, records, tail []byte) {
		disk := newCrashFS(rand.New(rand.NewPCG(1, 1)))
		file, err := disk.OpenFile(filepath.Join("/log", segmentName(1)), createFlags(), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		content := append(append(appendSegmentHeader(nil, 1), records...), tail...)
		if _, err := file.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
		l, err := open("/log", testConfig(), disk, quiet)
		if err != nil {
			if !errors.Is(err, consensus.ErrStorageFailed) {
				t.Fatal(err)
			}
			return
		}
		got := dumpLog(t, l)
		mustAppend(t, l, Write{Group: 99, State: &State{Term: 1}})
		again := mustOpen(t, "/log", testConfig(), disk)
		if dumpLog(t, again) != got {
			t.Fatal("recovered twice, with two results")
		}
	})
}
