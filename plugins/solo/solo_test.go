package solo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
)

func TestConformance(t *testing.T) {
	consensustest.Run(t, consensustest.Config{New: New})
}

func open(t *testing.T, dir string) *group {
	t.Helper()
	b := New()
	if err := b.Start(t.Context(), consensus.StartConfig{ReplicaID: 1, DataDir: dir}); err != nil {
		t.Fatal(err)
	}
	g, err := b.OpenGroup(t.Context(), consensus.GroupSpec{
		ID: consensus.Metadata, Mode: consensus.OpenBootstrap, Members: []consensus.Member{{ReplicaID: 1, Role: consensus.Voter}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g.(*group)
}

func (g *group) proposeAndWait() consensus.Result {
	results := make(chan consensus.Result, 1)
	g.Propose(g.term, []byte("some data"), func(r consensus.Result) { results <- r })
	return <-results
}

// After a failed write nothing is acknowledged, and nothing is written any more.
func TestFailedWrite(t *testing.T) {
	g := open(t, t.TempDir())
	if err := g.journal.f.Close(); err != nil { // every write fails from now on
		t.Fatal(err)
	}
	if r := g.proposeAndWait(); r.Outcome != consensus.Unknown || !errors.Is(r.Err, consensus.ErrStorageFailed) {
		t.Fatalf("the write that failed: %+v", r)
	}
	if r := g.proposeAndWait(); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrStorageFailed) {
		t.Fatalf("a write after that: %+v", r)
	}
	if err := g.SaveSnapshot(t.Context(), consensus.SnapshotMeta{Index: 1, Term: 1}, strings.NewReader("")); err == nil {
		t.Fatal("a snapshot was saved after that")
	}
	if l, _ := g.Leadership(); l.Role != consensus.Follower {
		t.Fatalf("it still leads: %+v", l)
	}
}

// threeWrites returns the bytes of a journal of a snapshot, a no-op and three
// more entries, and where each of the last three records begins.
func threeWrites(t *testing.T) (data []byte, offsets []int64) {
	t.Helper()
	g := open(t, t.TempDir())
	for range 3 {
		offsets = append(offsets, g.journal.end)
		g.proposeAndWait()
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(g.path)
	if err != nil {
		t.Fatal(err)
	}
	return data, offsets
}

func reopen(t *testing.T, data []byte) (last uint64, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(path)
	if err != nil {
		return 0, err
	}
	return j.last(), j.f.Close()
}

func TestJournalCutAtEveryByte(t *testing.T) {
	data, offsets := threeWrites(t)
	for size := offsets[0]; size <= int64(len(data)); size++ {
		want := uint64(1)
		for i := range offsets {
			if i+1 < len(offsets) && size >= offsets[i+1] || size == int64(len(data)) {
				want = uint64(i + 2)
			}
		}
		if last, err := reopen(t, data[:size]); err != nil || last != want {
			t.Fatalf("cut to %d of %d bytes: last entry %d, %v, want %d", size, len(data), last, err, want)
		}
	}
}

func TestJournalDamage(t *testing.T) {
	data, offsets := threeWrites(t)
	for at := range data {
		damaged := append([]byte(nil), data...)
		damaged[at] ^= 0x40
		last, err := reopen(t, damaged)
		if int64(at) >= offsets[2] {
			if err != nil || last != 3 { // can not be told from a torn write
				t.Fatalf("damage at %d, in the last write: last entry %d, %v", at, last, err)
			}
			continue
		}
		if err == nil {
			t.Fatalf("damage at %d, before the last write: last entry %d", at, last)
		}
	}
}

// A snapshot takes the log with it, all of which is then proven by the empty
// record behind: damage in it is no torn tail.
func TestDamageAfterASnapshot(t *testing.T) {
	g := open(t, t.TempDir())
	for range 5 {
		g.proposeAndWait()
	}
	if err := g.SaveSnapshot(t.Context(), consensus.SnapshotMeta{Index: 3, Term: 1, Format: "f"}, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(g.path)
	if err != nil {
		t.Fatal(err)
	}
	if last, err := reopen(t, data); err != nil || last != 6 {
		t.Fatalf("undamaged: last entry %d, %v", last, err)
	}
	data[len(data)-recordSize-1] ^= 1
	if last, err := reopen(t, data); err == nil {
		t.Fatalf("damage in the last entry: last entry %d", last)
	}
}
