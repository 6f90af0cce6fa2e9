package wal

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestDump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "orders-0")
	l := open(t, dir, smallConfig(), WithTopicID([16]byte{1}))
	for i := range int32(9) {
		mustAppend(t, l, i/6, producerBatchOf(2, "r", 7, 0, 2*i))
	}
	mustAppend(t, l, 2, batchOf(1, "last", 2000))
	mustAppend(t, l, 2, txnBatchOf(1, "t", 8, 1, 0))
	mustAppend(t, l, 2, txnBatchOf(1, "t", 9, 0, 0))
	mustAppend(t, l, 2, abortOf(8, 1, 4))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := DumpDir(&out, dir, DumpOptions{Records: true, Verify: true}); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(out.String(), dir, "orders-0")
	golden := filepath.Join("testdata", "dump.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s (%v)", got, want, err)
	}
}

func TestDumpFindsDamage(t *testing.T) {
	dir := t.TempDir()
	cfg := smallConfig()
	cfg.SegmentBytes = 1 << 20
	l := open(t, dir, cfg)
	for range 10 {
		mustAppend(t, l, 0, batchOf(2, "r", 1))
	}
	mustAppend(t, l, 0, txnBatchOf(1, "t", 8, 1, 0))
	mustAppend(t, l, 0, abortOf(8, 1, 4))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{logSuffix, indexSuffix, txnIndexSuffix} {
		name := offsetName(dir, 0, suffix)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		damaged := append([]byte(nil), b...)
		damaged[len(b)-1] ^= 0x80
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := DumpDir(&out, dir, DumpOptions{Verify: true}); err == nil || !strings.Contains(out.String(), "PROBLEM") {
			t.Errorf("%s: no problem found", suffix)
		}
		if err := DumpDir(&out, dir, DumpOptions{}); err != nil {
			t.Errorf("%s: without verify: %v", suffix, err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
