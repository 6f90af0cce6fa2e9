package wal

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/quorate/quorate/core/wal/disk/disktest"
)

// TestDumpCommitLog prints a commit log that a crash left: its frames are needed; then
// one in which a committed frame and the checkpoint are damaged.
func TestDumpCommitLog(t *testing.T) {
	fsys := disktest.New()
	w := openCommitted(t, fsys, 2, nil)
	for range 3 {
		for _, l := range w.logs {
			mustAppend(t, l, 0, batchOf(2, "r", 1))
			mustSync(t, l)
		}
	}
	if err := w.c.SavePoints(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := dumpCommitLog(fsys, &out, "/data/wal", DumpOptions{Verify: true}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for want, n := range map[string]int{"type: batches": 6, "needed: true": 12, "type: padding": 6, "isvalid: true": 6, "durableOffset: ": 2, "Dumping /data/wal/0000.ring": 1} {
		if got := strings.Count(out.String(), want); got != n {
			t.Errorf("%q is there %d times, want %d:\n%s", want, got, n, out.String())
		}
	}
	out.Reset()
	if err := dumpCommitLog(fsys, &out, "/data/wal", DumpOptions{JSON: true}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var o struct{ Kind, File string }
		if err := json.Unmarshal([]byte(line), &o); err != nil || o.Kind == "" || !strings.HasPrefix(o.File, "/data/wal/") {
			t.Errorf("%s: %+v, %v", line, o, err)
		}
	}
	flipByte(t, fsys, "/data/wal/0000.ring", 4096+70)
	err := dumpCommitLog(fsys, &out, "/data/wal", DumpOptions{Verify: true})
	if err == nil || !strings.Contains(err.Error(), "/data/wal/0000.ring is damaged at byte 4096") {
		t.Errorf("a damaged frame: %v", err)
	}
	flipByte(t, fsys, "/data/wal/checkpoint", 20)
	err = dumpCommitLog(fsys, &out, "/data/wal", DumpOptions{Verify: true})
	if err == nil || !strings.Contains(err.Error(), "/data/wal/checkpoint is damaged") {
		t.Errorf("a damaged checkpoint: %v", err)
	}
}

// TestDumpAsJSON wants an object on every line, with everything that text has.
func TestDumpAsJSON(t *testing.T) {
	_, files, _ := damagedLog(t)
	fsys := disktest.New()
	for name, b := range files {
		putFile(t, fsys, "/t/"+name, b)
	}
	var out strings.Builder
	if err := dumpDir(fsys, &out, "/t", DumpOptions{Verify: true, Records: true, Indexes: true, JSON: true}); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(out.String()) {
		var o struct{ Kind, File string }
		if err := json.Unmarshal([]byte(line), &o); err != nil || !strings.HasPrefix(o.File, "/t/") {
			t.Errorf("%s: %v", line, err)
		}
		kinds[o.Kind]++
	}
	for _, kind := range []string{"topicId", "logCheckpoint", "cleanShutdown", "leaderEpoch", "batch", "record", "producer", "indexEntry", "timeIndexEntry"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s among %v", kind, kinds)
		}
	}
	if kinds["batch"] != 24 || kinds["record"] != 48 || kinds["problem"] != 0 {
		t.Errorf("got %v", kinds)
	}
}
