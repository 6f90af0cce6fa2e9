package wal

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/protocol/record"
)

// directory is the files of a log, by name.
func directory(t testing.TB, fsys FS, dir string) (names []string, files map[string][]byte) {
	t.Helper()
	names, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	for _, name := range names {
		b, err := disk.ReadFile(fsys, dir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	return names, files
}

// damagedLog is a log of some segments, with every kind of file, that was closed cleanly.
func damagedLog(t testing.TB) (names []string, files map[string][]byte, want [][]byte) {
	t.Helper()
	fsys := disktest.New()
	l, err := Open("/t", smallConfig(), slog.New(slog.DiscardHandler), WithFS(fsys), WithTopicID([16]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 24 {
		b := producerBatchOf(2, "r", 7, 0, int32(2*i))
		if _, err := l.AppendAsLeader(int32(i/9), b); err != nil {
			t.Fatal(err)
		}
		want = append(want, slices.Clone(b))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	names, files = directory(t, fsys, "/t")
	return names, files, want
}

// FuzzDamage changes bytes of a log that was closed cleanly. Whatever it then gives to
// readers is what was appended, every batch of it; else it refuses with a
// *CorruptError that names the file.
func FuzzDamage(f *testing.F) {
	names, files, want := damagedLog(f)
	f.Add([]byte{2, 0, 20, 1})
	f.Add([]byte{1, 0, 3, 128, 4, 0, 9, 1})
	f.Fuzz(func(t *testing.T, flips []byte) {
		fsys := disktest.New()
		changed := map[string][]byte{}
		for name, b := range files {
			changed[name] = slices.Clone(b)
		}
		for flip := range slices.Chunk(flips, 4) { // file, position, what is changed there
			if len(flip) < 4 {
				break
			}
			b := changed[names[int(flip[0])%len(names)]]
			if len(b) > 0 {
				b[(int(flip[1])<<8|int(flip[2]))%len(b)] ^= flip[3]
			}
		}
		for name, b := range changed {
			if err := disk.WriteFile(fsys, "/t/"+name, b, true); err != nil {
				t.Fatal(err)
			}
		}
		l, err := Open("/t", smallConfig(), slog.New(slog.DiscardHandler), WithFS(fsys), WithTopicID([16]byte{1}))
		if err != nil {
			wantRefused(t, err)
			return
		}
		// Without the marker, and without a commit log, a damaged end looks like a torn
		// write, and a damaged epoch there like a new one.
		marked := slices.Equal(changed[cleanFile], files[cleanFile])
		for _, name := range names {
			if !marked && name != cleanFile && !slices.Equal(changed[name], files[name]) {
				return
			}
		}
		// The leader epoch of a batch is told by one other file: if both are damaged nobody
		// can tell what it was.
		same := slices.Equal[[]byte]
		if !slices.Equal(changed[epochsFile], files[epochsFile]) {
			same = sameButEpoch
		}
		served := readAgainst(t, l, want, marked, same)
		// Whatever was found, appends go on, or are refused for good.
		end := l.End()
		if a, err := l.AppendAsLeader(1<<30, batchOf(1, "new", 1)); err != nil {
			t.Fatalf("append: %v", err)
		} else if a.First != end {
			t.Fatalf("append at %d, the log ended at %d", a.First, end)
		}
		for range 8 { // beyond a roll
			if _, err := l.AppendAsLeader(1<<30, batchOf(2, "newer", 1)); err != nil {
				t.Fatalf("append: %v", err)
			}
		}
		if b, err := l.Read(end, end+1, 1<<16, true); err != nil || len(b) == 0 {
			t.Fatalf("read what was appended: %d bytes, %v", len(b), err)
		}
		if err := l.Close(); err != nil && served {
			t.Fatalf("close: %v", err)
		}
	})
}

// sameButEpoch compares batches without their leader epochs.
func sameButEpoch(a, b []byte) bool {
	const from, to = 12, 16
	return len(a) == len(b) && slices.Equal(a[:from], b[:from]) && slices.Equal(a[to:], b[to:])
}

func wantRefused(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrTopicID) {
		return
	}
	c, ok := errors.AsType[*CorruptError](err)
	if !ok || c.File == "" || c.Reason == "" || c.Offset < 0 {
		t.Fatalf("refused without a file: %v", err)
	}
}

// readAgainst reads all of l, in two ways; false if it refused to give something. With
// all nothing may be missing at the end.
func readAgainst(t *testing.T, l *Log, want [][]byte, all bool, same func(a, b []byte) bool) bool {
	t.Helper()
	at := 0
	for at < len(want) && record.Batch(want[at]).BaseOffset() < l.Start() {
		at++
	}
	whole := true
	for offset := l.Start(); offset < l.End(); {
		b, err := l.Read(offset, l.End(), 200, true)
		if err != nil {
			wantRefused(t, err)
			whole = false
			break
		}
		if len(b) == 0 {
			t.Fatalf("nothing to read at offset %d, the log ends at %d", offset, l.End())
		}
		for len(b) > 0 && at < len(want) {
			n := len(want[at])
			if len(b) < n || !same(b[:n], want[at]) {
				t.Fatalf("offset %d: not what was appended", offset)
			}
			offset, b, at = record.Batch(want[at]).LastOffset()+1, b[n:], at+1
		}
		if len(b) > 0 {
			t.Fatalf("offset %d: %d bytes more than were appended", offset, len(b))
		}
	}
	if whole && all && at < len(want) {
		t.Fatalf("%d of %d batches, and no error", at, len(want))
	}
	for i, b := range want {
		b := record.Batch(b)
		if b.BaseOffset() < l.Start() || b.BaseOffset() >= l.End() {
			continue
		}
		s, err := l.Span(b.BaseOffset(), l.End(), 200, true)
		if err != nil {
			wantRefused(t, err)
			whole = false
			continue
		}
		got := make([]byte, s.Size())
		if n, err := s.ReadAt(got, 0); n < len(got) || len(got) < len(b) {
			t.Fatalf("batch %d: %d bytes of %d, %v", i, n, len(b), err)
		}
		s.Release()
		if !same(got[:len(b)], b) {
			t.Fatalf("batch %d: not what was appended", i)
		}
	}
	return whole
}
