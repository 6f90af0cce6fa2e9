package solo

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/quorate/quorate/consensus"
)

// threeWrites makes a journal of three entries, each synced on its own, and
// returns its bytes and where each record begins.
func threeWrites(t *testing.T) (data []byte, offsets []int64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	j, err := createJournal(path, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		commit, err := j.write([]consensus.Entry{{Index: i + 1, Term: 1, Data: []byte("some data")}})
		if err != nil {
			t.Fatal(err)
		}
		commit()
	}
	if err := j.f.Close(); err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return data, j.offsets
}

func reopen(t *testing.T, data []byte) (last uint64, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(path, 1)
	if err != nil {
		return 0, err
	}
	return j.last(), j.f.Close()
}

func TestJournalCutAtEveryByte(t *testing.T) {
	data, offsets := threeWrites(t)
	for size := journalHeader; size <= len(data); size++ {
		want := uint64(0)
		for i := range offsets {
			if i+1 < len(offsets) && int64(size) >= offsets[i+1] || size == len(data) {
				want = uint64(i + 1)
			}
		}
		if last, err := reopen(t, data[:size]); err != nil || last != want {
			t.Fatalf("cut to %d of %d bytes: last entry %d, %v, want %d", size, len(data), last, err, want)
		}
	}
}

func TestJournalDamage(t *testing.T) {
	data, offsets := threeWrites(t)
	for at := journalHeader; at < len(data); at++ {
		damaged := append([]byte(nil), data...)
		damaged[at] ^= 0x40
		last, err := reopen(t, damaged)
		if int64(at) >= offsets[2] {
			if err != nil || last != 2 { // can not be told from a torn write
				t.Fatalf("damage at %d, in the last write: last entry %d, %v", at, last, err)
			}
			continue
		}
		if !errors.Is(err, consensus.ErrStorageFailed) {
			t.Fatalf("damage at %d, before the last write: last entry %d, %v", at, last, err)
		}
	}
}
