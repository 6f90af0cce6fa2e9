package hashicorpraft

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// What the library keeps comes back as it was, from memory and from the disk.
func TestLogKeepsWhatItIsGiven(t *testing.T) { onBothStores(t, logKeepsWhatItIsGiven) }

func logKeepsWhatItIsGiven(t *testing.T, name string) {
	dir := t.TempDir()
	s := openStore(t, name, dir)
	at := time.Unix(1_700_000_000, 123_456_789)
	logs := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(members("1")), AppendedAt: at},
		{Index: 2, Term: 3, Type: raft.LogNoop},
		{Index: 3, Term: 3, Type: raft.LogCommand, Data: bytes.Repeat([]byte{0}, 1<<20), Extensions: []byte("extension")},
		{Index: 4, Term: 3, Type: raft.LogBarrier, AppendedAt: at},
	}
	stable := map[string][]byte{"LastVoteCand": []byte("replica 2"), "empty": {}}
	if err := s.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	for key, value := range stable {
		if err := s.Set([]byte(key), value); err != nil {
			t.Fatal(err)
		}
	}
	for term := uint64(1); term <= 3; term++ {
		if err := s.SetUint64([]byte("CurrentTerm"), term); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, want := range logs {
			var got raft.Log
			if err := s.GetLog(want.Index, &got); err != nil {
				t.Fatal(err)
			}
			if !got.AppendedAt.Equal(want.AppendedAt) || !bytes.Equal(got.Data, want.Data) || !bytes.Equal(got.Extensions, want.Extensions) ||
				got.Index != want.Index || got.Term != want.Term || got.Type != want.Type {
				t.Errorf("entry %d is not what it was: %v", want.Index, got.Type)
			}
		}
		var l raft.Log
		for _, index := range []uint64{0, 5} {
			if err := s.GetLog(index, &l); !errors.Is(err, raft.ErrLogNotFound) {
				t.Errorf("entry %d: %v", index, err)
			}
		}
		for key, want := range stable {
			if got, err := s.Get([]byte(key)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is %q, %v, want %q", key, got, err, want)
			}
		}
		if got, err := s.GetUint64([]byte("CurrentTerm")); err != nil || got != 3 {
			t.Errorf("term %d, %v", got, err)
		}
		if got, err := s.GetUint64([]byte("LastVoteTerm")); err != nil || got != 0 {
			t.Errorf("a number that was not set is %d, %v", got, err)
		}
		if err := s.wal.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, name, dir)
	}
	if err := s.wal.Close(); err != nil {
		t.Fatal(err)
	}
}

// The store outlives its segments: what is kept beside the log, and where the log
// begins, is found when the segments that said so are gone.
func TestLogAfterItsFirstSegments(t *testing.T) { onBothStores(t, logAfterItsFirstSegments) }

func logAfterItsFirstSegments(t *testing.T, name string) {
	dir := t.TempDir()
	s := openStore(t, name, dir)
	if err := s.Set([]byte("LastVoteCand"), []byte("2")); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64<<10)
	for i := uint64(1); i <= 100; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteRange(1, 90); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 101, 110, 2)
	if err := s.wal.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, name, dir)
	wantTerms(t, s, 91, 110, func(i uint64) uint64 { return 1 + i/101 })
	if got, err := s.Get([]byte("LastVoteCand")); err != nil || string(got) != "2" {
		t.Errorf("the vote is %q, %v", got, err)
	}
	if err := s.wal.Close(); err != nil {
		t.Fatal(err)
	}
}

// A byte of the newest write that goes bad is found, and not taken for the end.
func TestDamageToTheNewestWrite(t *testing.T) {
	last := &raft.Log{Index: 4, Term: 1, Data: []byte("the newest entry")}
	writes := map[string]func(*store) error{
		"an entry": func(s *store) error { return s.StoreLog(last) },
		"a vote":   func(s *store) error { return s.Set([]byte("LastVoteCand"), last.Data) },
	}
	for what, write := range writes {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, storeSegments, dir)
			fill(t, s, 1, 3, 1)
			if err := write(s); err != nil {
				t.Fatal(err)
			}
			if err := s.wal.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, logFolder, "0000000000000001.seg")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(content, last.Data)
			if at < 0 {
				t.Fatal("the write is not in the segment")
			}
			content[at] ^= 1
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if w, err := openLog(dir, smallLog(storeSegments)); !errors.Is(err, consensus.ErrStorageFailed) {
				t.Fatalf("opened a damaged log: %v, %v", w, err)
			}
		})
	}
}

// A directory keeps what its log was made with.
func TestLogStoreOfADirectory(t *testing.T) {
	both := []string{storeSegments, storeRaftWAL}
	for _, made := range both {
		t.Run(made, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, made, dir)
			fill(t, s, 1, 3, 1)
			if err := s.wal.Close(); err != nil {
				t.Fatal(err)
			}
			for _, asked := range both {
				if asked == made {
					continue
				}
				if _, err := openLog(dir, smallLog(asked)); !errors.Is(err, consensus.ErrDataIncompatible) {
					t.Errorf("opened with %s: %v", asked, err)
				}
			}
			s = openStore(t, "", dir) // nothing is asked for
			wantTerms(t, s, 1, 3, func(uint64) uint64 { return 1 })
			if err := s.wal.Close(); err != nil {
				t.Fatal(err)
			}
			mark := filepath.Join(dir, storeMark)
			if err := os.WriteFile(mark, []byte("seglgg\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := openLog(dir, smallLog("")); !errors.Is(err, consensus.ErrStorageFailed) {
				t.Errorf("opened with a damaged %s: %v", storeMark, err)
			}
			if err := os.Remove(mark); err != nil {
				t.Fatal(err)
			}
			w, err := openLog(dir, smallLog(""))
			if made == storeSegments {
				if !errors.Is(err, consensus.ErrStorageFailed) {
					t.Errorf("opened a segment log without its mark: %v", err)
				}
				return
			}
			if err != nil { // as from before there was a mark
				t.Fatal(err)
			}
			if last, err := w.LastIndex(); err != nil || last != 3 {
				t.Errorf("the log ends at %d, %v", last, err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	t.Run("a new one", func(t *testing.T) {
		dir := t.TempDir()
		s := openStore(t, "", dir)
		if made, err := madeWith(dir); err != nil || made != storeSegments {
			t.Errorf("made with %q, %v", made, err)
		}
		if err := s.wal.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeStable(f *testing.F) {
	f.Add(encodeStable(map[string][]byte{"CurrentTerm": {0, 0, 0, 0, 0, 0, 0, 7}, "LastVoteCand": []byte("2@1")}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		stable, err := decodeStable(b)
		if err != nil {
			return
		}
		again, err := decodeStable(encodeStable(stable))
		if err != nil || !reflect.DeepEqual(normal(again), normal(stable)) {
			t.Errorf("%q: %v became %v, %v", b, stable, again, err)
		}
	})
}

func normal(stable map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range stable {
		out[k] = string(v)
	}
	return out
}
