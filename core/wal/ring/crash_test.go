package ring

import (
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/quorate/quorate/core/wal/disk/disktest"
)

// crashPoints is kept small for every day; 10000 and more find what is rare.
var crashPoints = flag.Uint64("crash.points", 400, "how many power cuts TestCrash tries")

// crashSeed begins at another point: the seed that a failure names.
var crashSeed = flag.Uint64("crash.seed", 0, "the seed of the first power cut")

// TestCrash commits, checkpoints and makes files at random, cuts the power at a
// random call to the file system, and replays.
func TestCrash(t *testing.T) {
	for seed := *crashSeed; seed < *crashSeed+*crashPoints; seed++ {
		runCrash(t, seed)
		if t.Failed() {
			t.Fatalf("replay with -run TestCrash -crash.seed %d -crash.points 1", seed)
		}
	}
}

// crashModel is what a ring must hold.
type crashModel struct {
	t      *testing.T
	rnd    *rand.Rand
	fs     *disktest.FS
	ring   *Ring
	frames []Frame        // since the last checkpoint that is known to be durable
	firsts map[uint64]int // where each file begins in frames
	acked  int            // how many of them were committed
	drop   int            // how many a checkpoint under way drops
	made   int
}

func runCrash(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 11))
	m := &crashModel{t: t, rnd: rnd, fs: disktest.New(), firsts: map[uint64]int{}}
	for range 5 {
		m.fs.Budget = rnd.IntN(60)
		for alive := m.open(); alive; alive = m.step() {
			continue
		}
		m.fs.Crash(rnd)
		if t.Failed() {
			return
		}
	}
	m.fs.Budget = -1
	m.open()
}

// open replays and compares; false means that the power is cut again.
func (m *crashModel) open() bool {
	r, err := Open(m.fs, testDir, smallConfig(), false, slog.New(slog.DiscardHandler))
	if err != nil {
		return m.lives(err)
	}
	m.ring = r
	var got []Frame
	if err := r.Replay(false, func(f Frame) error {
		f.Payload = append([]byte(nil), f.Payload...)
		got = append(got, f)
		return nil
	}); err != nil {
		return m.lives(err)
	}
	m.check(got)
	again := 0
	if err := r.Replay(false, func(f Frame) error {
		if again >= len(got) || !same(f, got[again]) {
			m.t.Errorf("frame %d is another one when it is read again", again)
		}
		again++
		return nil
	}); err != nil || again != len(got) {
		m.t.Errorf("%d frames when read again, want %d: %v", again, len(got), err)
	}
	// From here on the frames may be replayed again, or, once the checkpoint of
	// Begin is durable, not at all.
	m.frames, m.acked, m.drop = got, len(got), len(got)
	if err := r.Begin(nil); err != nil {
		return m.lives(err)
	}
	m.frames, m.acked, m.drop = nil, 0, 0
	clear(m.firsts)
	return true
}

// check wants what was committed, in order, and no more than was tried.
func (m *crashModel) check(got []Frame) {
	want := m.frames
	if m.drop > 0 && (len(got) == 0 || !same(got[0], want[0])) {
		want, m.acked = want[m.drop:], m.acked-m.drop // the checkpoint happened
	}
	if len(got) < m.acked || len(got) > len(want) {
		m.t.Errorf("%d frames, want between %d and %d", len(got), m.acked, len(want))
		return
	}
	for i := range got {
		if !same(got[i], want[i]) {
			m.t.Errorf("frame %d is of %d, want %d", i, got[i].Base, want[i].Base)
			return
		}
	}
}

func (m *crashModel) lives(err error) bool {
	if !errors.Is(err, disktest.ErrPower) {
		m.t.Error(err)
	}
	return false
}

// step does one thing; false means that the power is cut.
func (m *crashModel) step() bool {
	var err error
	switch n := m.rnd.IntN(10); {
	case n < 7:
		err = m.commit()
	case n < 8:
		err = m.ring.Prepare()
	default:
		err = m.checkpoint()
	}
	return err == nil || m.lives(err)
}

func (m *crashModel) commit() error {
	var frames []Frame
	for range m.rnd.IntN(4) + 1 {
		m.made++
		frames = append(frames, frameOf(m.made, m.rnd.IntN(3000)))
	}
	before := len(m.frames)
	m.frames = append(m.frames, frames...)
	if err := commit(m.ring, frames...); err != nil {
		return err
	}
	m.acked = len(m.frames)
	if _, ok := m.firsts[m.ring.Current()]; !ok {
		m.firsts[m.ring.Current()] = before
	}
	return nil
}

func (m *crashModel) checkpoint() error {
	full, _ := m.ring.Full()
	if m.rnd.IntN(4) == 0 {
		full = m.ring.Current() // as a clean stop does
	}
	if full == 0 {
		return nil
	}
	m.drop = len(m.frames)
	if first, ok := m.firsts[full+1]; ok {
		m.drop = first
	}
	if err := m.ring.Checkpoint(full, nil); err != nil {
		return err
	}
	m.frames, m.acked = m.frames[m.drop:], m.acked-m.drop
	for sequence := range m.firsts {
		m.firsts[sequence] -= m.drop
	}
	m.drop = 0
	return nil
}
