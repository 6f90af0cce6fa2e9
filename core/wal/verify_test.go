package wal

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
)

// TestDamageIsNotServed flips a bit of each file of a log that was closed cleanly. The
// log then is as it was, made anew from what is right, or refuses, and names a file.
func TestDamageIsNotServed(t *testing.T) {
	names, files, want := damagedLog(t)
	for _, name := range names {
		for at := 0; at < len(files[name]); at += 1 + len(files[name])/150 {
			fsys := disktest.New()
			for other, b := range files {
				if b = slices.Clone(b); other == name {
					b[at] ^= 1 << (at % 8)
				}
				if err := disk.WriteFile(fsys, "/t/"+other, b, true); err != nil {
					t.Fatal(err)
				}
			}
			l, err := Open("/t", smallConfig(), slog.New(slog.DiscardHandler), WithFS(fsys), WithTopicID([16]byte{1}))
			if err != nil {
				wantRefused(t, err)
				continue
			}
			served := readAgainst(t, l, want, true, slices.Equal)
			if !served && !strings.HasSuffix(name, logSuffix) && name != epochsFile {
				t.Errorf("byte %d of %s is damaged, and records are not served that are right", at, name)
			}
			if served && strings.HasSuffix(name, logSuffix) {
				t.Errorf("byte %d of %s is damaged, and all was served", at, name)
			}
			for ts := range int64(3) {
				if _, _, _, _, err := l.OffsetForTime(999 + ts); err != nil {
					wantRefused(t, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Errorf("byte %d of %s: close: %v", at, name, err)
			}
			if strings.HasSuffix(name, logSuffix) {
				continue
			}
			if l, err = Open("/t", smallConfig(), slog.New(slog.DiscardHandler), WithFS(fsys), WithTopicID([16]byte{1})); err != nil {
				t.Errorf("byte %d of %s: opened again: %v", at, name, err)
				continue
			}
			for _, s := range l.view.Load().segments {
				if s.size.Load() > 200 && s.offsets.count() == 0 {
					t.Errorf("byte %d of %s: segment %d has no index after it was opened again", at, name, s.base)
				}
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestWhatWasReadIsNotReadAgain damages a segment that was read already: the bytes are
// remembered to have been right. Nor is what this process wrote read.
func TestWhatWasReadIsNotReadAgain(t *testing.T) {
	_, files, want := damagedLog(t)
	fsys := disktest.New()
	for name, b := range files {
		if err := disk.WriteFile(fsys, "/t/"+name, b, true); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, "/t", smallConfig(), WithFS(fsys), WithTopicID([16]byte{1}))
	if !readAgainst(t, l, want, true, slices.Equal) {
		t.Fatal("not everything was served")
	}
	first := l.view.Load().segments[0]
	if !first.checked.covers(0, first.size.Load()) || len(first.checked.ranges) != 1 {
		t.Errorf("checked %v of %d bytes", first.checked.ranges, first.size.Load())
	}
	flipByte(t, fsys, first.name, 70)
	if _, err := l.Read(0, l.End(), 200, true); err != nil {
		t.Errorf("read again: %v", err)
	}
	end := mustAppend(t, l, 9, batchOf(2, "new", 1)).First
	active := l.view.Load().active()
	flipByte(t, fsys, active.name, active.size.Load()-1)
	if _, err := l.Read(end, l.End(), 200, true); err != nil {
		t.Errorf("what was written was read: %v", err)
	}
}

// TestDamageIsFoundWhileServing wants the place of a damaged batch of a sealed segment
// named by whoever would have had it.
func TestDamageIsFoundWhileServing(t *testing.T) {
	fsys := disktest.New()
	_, files, want := damagedLog(t)
	for name, b := range files {
		if err := disk.WriteFile(fsys, "/t/"+name, b, true); err != nil {
			t.Fatal(err)
		}
	}
	at := int64(len(want[0]) + len(want[1]))
	flipByte(t, fsys, offsetName("/t", 0, logSuffix), at+70)
	l := open(t, "/t", smallConfig(), WithFS(fsys), WithTopicID([16]byte{1}))
	if b, err := l.Read(0, l.End(), len(want[0]), true); err != nil || !slices.Equal(b, want[0]) {
		t.Errorf("what comes before the damage: %d bytes, %v", len(b), err)
	}
	_, err := l.Span(4, l.End(), 1<<20, true)
	c, ok := errors.AsType[*CorruptError](err)
	if !ok || c.File != offsetName("/t", 0, logSuffix) || c.Offset != at {
		t.Errorf("got %v, want damage at byte %d", err, at)
	}
}

func TestChecked(t *testing.T) {
	var c checked
	for i := range int64(200) {
		c.add(10*i, 10*i+5)
	}
	if len(c.ranges) > maxCheckedRanges || !c.covers(1990, 1995) || c.covers(1990, 1996) {
		t.Errorf("%d ranges, the last %v", len(c.ranges), c.ranges[len(c.ranges)-1])
	}
	c.add(1000, 1995)
	if !c.covers(1001, 1994) || c.covers(999, 1994) {
		t.Errorf("joined: %v", c.ranges)
	}
}
