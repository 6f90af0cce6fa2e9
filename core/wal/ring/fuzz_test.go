package ring

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"slices"
	"testing"

	"github.com/quorate/quorate/core/wal/disk"
	"github.com/quorate/quorate/core/wal/disk/disktest"
)

// ringFiles is what a directory of a ring holds.
func ringFiles(t testing.TB, fsys disk.FS) map[string][]byte {
	t.Helper()
	names, err := fsys.ReadDir(testDir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := disk.ReadFile(fsys, testDir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = b
	}
	return files
}

// written returns a ring of some rounds over several files, and its frames: rounds[i]
// is how many of them the first i+1 rounds have.
func written(t testing.TB) (files map[string][]byte, frames []Frame, rounds []int) {
	t.Helper()
	fsys := disktest.New()
	r, err := Open(fsys, testDir, smallConfig(), false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Replay(false, func(Frame) error { return nil }), r.Begin([]byte("state"))); err != nil {
		t.Fatal(err)
	}
	for i := range 14 {
		round := []Frame{frameOf(2*i, 100*i), frameOf(2*i+1, 50)}
		if err := commit(r, round...); err != nil {
			t.Fatal(err)
		}
		frames = append(frames, round...)
		rounds = append(rounds, len(frames))
	}
	return ringFiles(t, fsys), frames, rounds
}

// put writes files and opens the ring that they are.
func put(t testing.TB, files map[string][]byte, unsafe bool) (*disktest.FS, *Ring, error) {
	t.Helper()
	fsys := disktest.New()
	if err := fsys.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if err := disk.WriteFile(fsys, testDir+"/"+name, b, true); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(fsys, testDir, smallConfig(), unsafe, slog.New(slog.DiscardHandler))
	return fsys, r, err
}

// FuzzDamage changes bytes of a ring that was committed to. What it then replays are
// its frames, a prefix of them, and of one change only the last round may be missing
// without an error: a torn write looks the same.
func FuzzDamage(f *testing.F) {
	files, frames, rounds := written(f)
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	f.Add([]byte{0, 0, 0, 20, 1})
	f.Add([]byte{0, 0, 16, 4, 255, 1, 0, 0, 1, 7})
	f.Fuzz(func(t *testing.T, flips []byte) {
		changed := map[string][]byte{}
		for name, b := range files {
			changed[name] = slices.Clone(b)
		}
		for flip := range slices.Chunk(flips, 5) { // file, position, what is changed there
			if len(flip) < 5 {
				break
			}
			b := changed[names[int(flip[0])%len(names)]]
			at := int(flip[1])<<16 | int(flip[2])<<8 | int(flip[3])
			b[at%len(b)] ^= flip[4]
		}
		_, r, err := put(t, changed, false)
		var damage *DamageError
		if errors.As(err, &damage) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = r.Replay(false, func(got Frame) error {
			if n >= len(frames) || !same(got, frames[n]) {
				t.Fatalf("frame %d is not what was committed", n)
			}
			n++
			return nil
		})
		if errors.As(err, &damage) {
			if damage.File == "" || damage.Offset < 0 || damage.Reason == "" {
				t.Fatalf("damage without a place: %+v", damage)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		// What says that a round was durable is the next one: each change may take away one.
		missing := max(1, len(flips)/5)
		if missing < len(rounds) && n < rounds[len(rounds)-1-missing] {
			t.Fatalf("%d of %d frames, and no error", n, len(frames))
		}
	})
}

// FuzzRing opens a ring of anything; sealed has the CRCs of headers made right first,
// so that what lies behind them is reached. It must refuse or replay, twice the same,
// and then keep what is committed.
func FuzzRing(f *testing.F) {
	files, _, _ := written(f)
	f.Add(files[checkpointName], files["0000.ring"], files["0001.ring"], true)
	f.Add(files[checkpointName], files["0000.ring"][:4096], []byte{}, false)
	f.Add([]byte("QWCP"), []byte{}, []byte{}, false)
	f.Fuzz(func(t *testing.T, check, first, second []byte, sealed bool) {
		if len(check)+len(first)+len(second) > 1<<20 {
			return
		}
		check, first, second = slices.Clone(check), slices.Clone(first), slices.Clone(second)
		if sealed {
			if body := len(check) - 4; body > 0 {
				binary.BigEndian.PutUint32(check[body:], crc32.Checksum(check[:body], castagnoli))
			}
			reseal(first)
			reseal(second)
		}
		if laterWithin(check, first) || laterWithin(check, second) {
			return
		}
		fsys, r, err := put(t, map[string][]byte{checkpointName: check, "0000.ring": first, "0001.ring": second}, false)
		if err != nil {
			wantDamage(t, err)
			return
		}
		var got []Frame
		if err := r.Replay(false, func(f Frame) error {
			f.Payload = slices.Clone(f.Payload)
			got = append(got, f)
			return nil
		}); err != nil {
			wantDamage(t, err)
			return
		}
		again := 0
		if err := r.Replay(false, func(f Frame) error {
			if again >= len(got) || !same(f, got[again]) {
				t.Fatalf("frame %d is another one when it is read again", again)
			}
			again++
			return nil
		}); err != nil || again != len(got) {
			t.Fatalf("%d frames when read again, want %d: %v", again, len(got), err)
		}
		if err := r.Begin([]byte("new")); err != nil {
			wantDamage(t, err)
			return
		}
		want := frameOf(7, 100)
		if err := errors.Join(commit(r, want), commit(r, want)); err != nil {
			t.Fatal(err)
		}
		if r, err = Open(fsys, testDir, smallConfig(), false, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := r.Replay(false, func(f Frame) error {
			if !same(f, want) {
				t.Fatalf("frame %d is not what was committed", n)
			}
			n++
			return nil
		}); err != nil || n != 2 {
			t.Fatalf("%d frames of 2: %v", n, err)
		}
	})
}

func wantDamage(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*DamageError](err); !ok && !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("not a *DamageError: %v", err)
	}
}

// laterWithin tells if a file that does not begin with a frame of a later run than the
// checkpoint has one further behind. That takes an old checkpoint and a damaged first
// block together, since each run writes its files from their beginning; and only reading
// the whole ring at every start would find it.
func laterWithin(check, b []byte) bool {
	c, ok := decodeCheckpoint(check)
	later := func(at int) bool {
		if !ok || at+HeaderSize > len(b) {
			return false
		}
		d, is := decodeHeader(b[at:])
		body := at + HeaderSize + d.length
		return is && runOf(d.sequence) > runOf(c.sequence) && body <= len(b) && d.valid(b[at:at+HeaderSize], b[at+HeaderSize:body])
	}
	if later(0) {
		return false
	}
	for at := blockSize; at < len(b); at += blockSize {
		if later(at) {
			return true
		}
	}
	return false
}

// reseal makes the CRCs of the headers right that follow each other from the beginning.
func reseal(b []byte) {
	for len(b) >= HeaderSize {
		d, ok := decodeHeader(b)
		if !ok || d.length > len(b)-HeaderSize {
			return
		}
		crc, _ := payloadCRC(d.frame.Type, b[HeaderSize:HeaderSize+d.length])
		binary.BigEndian.PutUint32(b[crcAt:], crc32.Update(crc, castagnoli, b[:crcAt]))
		b = b[HeaderSize+d.length:]
	}
}
