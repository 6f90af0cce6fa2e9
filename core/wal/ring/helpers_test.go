package ring

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/protocol/record"
)

const testDir = "/data/wal"

func smallConfig() Config { return Config{SegmentBytes: 3 * blockSize, SizeBytes: 12 * blockSize} }

// begin opens the ring, replays it and begins; it returns what was replayed.
func begin(t *testing.T, fsys *disktest.FS, cfg Config) (*Ring, []Frame) {
	t.Helper()
	r, err := Open(fsys, testDir, cfg, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	frames := replayed(t, r)
	if err := r.Begin([]byte("begun")); err != nil {
		t.Fatal(err)
	}
	return r, frames
}

// replayed replays twice: the second time as whoever redoes it does.
func replayed(t *testing.T, r *Ring) (frames []Frame) {
	t.Helper()
	if err := r.Replay(false, func(f Frame) error {
		f.Payload = append([]byte(nil), f.Payload...)
		frames = append(frames, f)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	again := 0
	if err := r.Replay(false, func(f Frame) error {
		if string(f.Payload) != string(frames[again].Payload) {
			t.Errorf("frame %d is another one the second time", again)
		}
		again++
		return nil
	}); err != nil || again != len(frames) {
		t.Errorf("second replay: %d frames instead of %d, %v", again, len(frames), err)
	}
	return frames
}

// frameOf makes a frame of a batch whose value names it.
func frameOf(n, bytes int) Frame {
	b := record.NewBuilder()
	b.Add(int64(n), nil, fmt.Appendf(nil, "%d/%0*d", n, bytes, n))
	batch := record.Batch(b.Bytes())
	batch.SetBaseOffset(int64(n))
	return Frame{Type: Batches, Owner: Owner{ID: [16]byte{byte(n)}, Part: int32(n % 7)}, Base: int64(n), Position: uint32(n), Payload: batch}
}

// commit commits frames in one round.
func commit(r *Ring, frames ...Frame) error {
	var round Round
	for _, f := range frames {
		round.Reserve(f).Fill()
	}
	defer round.Release()
	return r.Commit(&round)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustCommit(t *testing.T, r *Ring, frames ...Frame) {
	t.Helper()
	must(t, commit(r, frames...))
}

// same tells if two frames are equal.
func same(a, b Frame) bool {
	return a.Type == b.Type && a.Owner == b.Owner && a.Base == b.Base && a.Position == b.Position && string(a.Payload) == string(b.Payload)
}
