package ring

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
)

func TestCommitAndReplay(t *testing.T) {
	fsys := disktest.New()
	r, _ := begin(t, fsys, smallConfig())
	want := []Frame{frameOf(1, 10), frameOf(2, 5000), {Type: Barrier, Owner: Owner{ID: [16]byte{9}, Part: 3}}, frameOf(3, 1)}
	mustCommit(t, r, want[:2]...)
	mustCommit(t, r) // an empty round is nothing
	mustCommit(t, r, want[2:]...)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again, got := begin(t, fsys, smallConfig())
	wantFrames(t, got, want)
	if string(again.State()) != "begun" {
		t.Errorf("state is %q", again.State())
	}
	// What was replayed before Begin is not replayed again.
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	_, got = begin(t, fsys, smallConfig())
	wantFrames(t, got, nil)
}

func wantFrames(t *testing.T, got, want []Frame) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i := range got {
		if !same(got[i], want[i]) {
			t.Errorf("frame %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// TestPaddingOfEveryLength commits rounds that end at every distance from a block's
// end, also those that leave no room for a header.
func TestPaddingOfEveryLength(t *testing.T) {
	cfg := Config{SegmentBytes: 1 << 20, SizeBytes: 4 << 20}
	fsys := disktest.New()
	r, _ := begin(t, fsys, cfg)
	var want []Frame
	for n := range 140 {
		f := frameOf(1000+n, blockSize-HeaderSize-61-140+n)
		want = append(want, f)
		mustCommit(t, r, f)
		if r.pos%blockSize != 0 {
			t.Fatalf("round of %d bytes ends at %d", len(f.Payload), r.pos)
		}
	}
	_, got := begin(t, fsys, cfg)
	wantFrames(t, got, want)
}

// TestFilesAreUsedAgain fills the ring many times over; checkpoints keep it small.
func TestFilesAreUsedAgain(t *testing.T) {
	fsys := disktest.New()
	r, _ := begin(t, fsys, smallConfig())
	var since []Frame // since the last checkpoint, by file
	first := map[uint64]int{}
	for n := range 300 {
		f := frameOf(n, 2000)
		mustCommit(t, r, f)
		if _, ok := first[r.Current()]; !ok {
			first[r.Current()] = len(since)
		}
		since = append(since, f)
		if err := r.Prepare(); err != nil {
			t.Fatal(err)
		}
		if full, size := r.Full(); size > 2*smallConfig().SegmentBytes {
			if err := r.Checkpoint(full, nil); err != nil {
				t.Fatal(err)
			}
			cut := first[full+1]
			since = since[cut:]
			for seq := range first {
				first[seq] -= cut
			}
		}
	}
	if len(r.files) > 4 {
		t.Errorf("%d files, want no more than 4: they must be used again", len(r.files))
	}
	_, got := begin(t, fsys, smallConfig())
	wantFrames(t, got, since)
}

func TestGrowsByDoubling(t *testing.T) {
	fsys := disktest.New()
	cfg := Config{SegmentBytes: 4 * firstBytes, SizeBytes: 16 * firstBytes}
	r, _ := begin(t, fsys, cfg)
	if got := r.files[0].size; got != firstBytes {
		t.Errorf("the first file has %d bytes, want %d", got, firstBytes)
	}
	for range 4 {
		for r.wanted() == 0 && len(r.files) < 4 {
			mustCommit(t, r, frameOf(1, 200<<10), frameOf(2, 1<<20))
		}
		if err := r.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int64{1, 2, 4, 4} {
		if got := r.files[i].size; got != want*firstBytes {
			t.Errorf("file %d has %d bytes, want %d", i, got, want*firstBytes)
		}
	}
}

// TestFrameLargerThanAFile makes a file grow beyond its size.
func TestFrameLargerThanAFile(t *testing.T) {
	fsys := disktest.New()
	r, _ := begin(t, fsys, smallConfig())
	want := []Frame{frameOf(1, 10), frameOf(2, 10*int(smallConfig().SegmentBytes)), frameOf(3, 10)}
	for _, f := range want {
		mustCommit(t, r, f)
	}
	_, got := begin(t, fsys, smallConfig())
	wantFrames(t, got, want)
}

func TestNothingIsUsedWithoutACheckpoint(t *testing.T) {
	fsys := disktest.New()
	r, _ := begin(t, fsys, smallConfig())
	mustCommit(t, r, frameOf(1, 10))
	if err := fsys.Remove(testDir + "/" + checkpointName); err != nil {
		t.Fatal(err)
	}
	_, err := Open(fsys, testDir, smallConfig(), false, slog.New(slog.DiscardHandler))
	if _, ok := errors.AsType[*DamageError](err); !ok {
		t.Fatalf("got %v, want damage", err)
	}
	r, err = Open(fsys, testDir, smallConfig(), true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := replayed(t, r); len(got) != 0 {
		t.Errorf("%d frames", len(got))
	}
	if err := r.Begin(nil); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, r, frameOf(2, 10))
	_, got := begin(t, fsys, smallConfig())
	wantFrames(t, got, []Frame{frameOf(2, 10)})
}

func TestFailedSyncIsTheCallers(t *testing.T) {
	fsys := disktest.New()
	r, _ := begin(t, fsys, smallConfig())
	broken := errors.New("input/output error")
	fsys.Fail = func(op, name string) error {
		if op == "sync" && strings.HasSuffix(name, fileSuffix) {
			return broken
		}
		return nil
	}
	if err := commit(r, frameOf(1, 10)); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

// flip changes one bit of a file, durably.
func flip(t *testing.T, fsys *disktest.FS, name string, at int64, bit int) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedBits flips every bit of the frames of committed rounds. In a round
// that a later one follows it must be found; in the last it ends the log there.
func TestFlippedBits(t *testing.T) {
	fsys := disktest.New()
	r, _ := begin(t, fsys, smallConfig())
	var frames []Frame
	for n := range 4 {
		f := frameOf(n, 20)
		frames = append(frames, f)
		mustCommit(t, r, f)
	}
	per := int64(HeaderSize + len(frames[0].Payload))
	refused, ended := 0, 0
	for n := range frames {
		round := int64(n) * blockSize
		name := r.files[0].name
		if n == 3 {
			name, round = r.files[1].name, 0 // a file has three blocks
		}
		for bit := range per * 8 {
			flip(t, fsys, name, round+bit/8, int(bit%8))
			again, err := Open(fsys, testDir, smallConfig(), false, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			err = again.Replay(false, func(f Frame) error {
				if !same(f, frames[got]) {
					t.Errorf("bit %d of round %d: frame %d is not what was committed", bit, n, got)
				}
				got++
				return nil
			})
			damaged, ok := errors.AsType[*DamageError](err)
			switch {
			case n < 3 && (!ok || damaged.File != name || damaged.Offset != round):
				t.Fatalf("bit %d of round %d: %v", bit, n, err)
			case n == 3 && err != nil:
				t.Fatalf("bit %d of the last round: %v", bit, err)
			case n < 3:
				refused++
			default:
				ended++
			}
			if got != n {
				t.Fatalf("bit %d of round %d: %d frames before it", bit, n, got)
			}
			got = 0
			if err := again.Replay(true, func(Frame) error { got++; return nil }); err != nil || got != n {
				t.Fatalf("unsafe: %d frames, %v", got, err)
			}
			flip(t, fsys, name, round+bit/8, int(bit%8))
		}
	}
	if refused != 3*int(per)*8 || ended != int(per)*8 {
		t.Errorf("%d refused, %d ended", refused, ended)
	}
}

// A checkpoint of an earlier run beside files of a later one is refused, and what was
// committed later never comes back behind new frames.
func TestCheckpointOfAnEarlierRunIsRefused(t *testing.T) {
	fsys := disktest.New()
	r, _ := begin(t, fsys, smallConfig())
	old := ringFiles(t, fsys)[checkpointName]
	must(t, r.Close())
	r, _ = begin(t, fsys, smallConfig())
	for i := range 3 { // the first round is written over below, by one of the same length
		mustCommit(t, r, frameOf(i, 50))
	}
	must(t, r.Close())
	must(t, disk.WriteFile(fsys, testDir+"/"+checkpointName, old, true))

	for _, unsafe := range []bool{false, true} {
		r, err := Open(fsys, testDir, smallConfig(), unsafe, slog.New(slog.DiscardHandler))
		must(t, err)
		err = r.Replay(unsafe, func(Frame) error { return nil })
		if damage, ok := errors.AsType[*DamageError](err); ok == unsafe || ok && damage.File != testDir+"/"+checkpointName {
			t.Fatalf("unsafe %t: replay: %v", unsafe, err)
		}
		if unsafe {
			must(t, r.Begin([]byte("anew")))
			mustCommit(t, r, frameOf(7, 50))
		}
		must(t, r.Close())
	}
	_, got := begin(t, fsys, smallConfig())
	wantFrames(t, got, []Frame{frameOf(7, 50)})
}
