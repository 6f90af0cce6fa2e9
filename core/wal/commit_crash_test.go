package wal

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/core/wal/filecache"
)

// The same flags as in package ring: a small number for every day, 10000 and more to
// find what is rare.
var (
	crashPoints = flag.Uint64("crash.points", 600, "how many power cuts TestCrash and TestCommitCrash try each")
	crashSeed   = flag.Uint64("crash.seed", 0, "the seed of the first power cut")
)

// TestCommitCrash has some logs share a commit log, does to them whatever may be done,
// cuts the power at a random call to the file system, and opens everything again.
// Nothing that was committed may be lost, doubled or out of order.
func TestCommitCrash(t *testing.T) {
	cuts := uint64(0)
	for seed := *crashSeed; cuts < *crashPoints; seed++ {
		w := newCrashWorld(t, seed)
		w.run()
		cuts += w.cuts
		if t.Failed() {
			t.Fatalf("replay with -run TestCommitCrash -crash.seed %d -crash.points 1", seed)
		}
	}
}

// crashWorld is logs with a committer that runs only when it is told to, so that a
// seed says everything.
type crashWorld struct {
	t    *testing.T
	rnd  *rand.Rand
	fs   *disktest.FS
	c    *Committer
	logs []*crashModel
	cuts uint64
}

func newCrashWorld(t *testing.T, seed uint64) *crashWorld {
	w := &crashWorld{t: t, rnd: rand.New(rand.NewPCG(seed, 13)), fs: disktest.New()}
	for i := range 3 {
		m := &crashModel{
			t: t, seed: seed, rnd: w.rnd, fs: w.fs, cfg: smallConfig(),
			now: time.UnixMilli(1_000_000), next: map[int64]int32{},
			dir: fmt.Sprintf("/data/t-%d", i), sync: w.flush,
		}
		if w.rnd.IntN(5) == 0 {
			m.cfg.Sync = SyncInterval // with callers who wait it is the same
		}
		w.logs = append(w.logs, m)
	}
	return w
}

func (w *crashWorld) run() {
	for range 6 {
		if w.fs.Budget = w.rnd.IntN(500); w.rnd.IntN(4) == 0 {
			w.fs.Budget = w.rnd.IntN(40)
		}
		for alive := w.open(); alive; alive = w.step() {
			continue
		}
		w.cuts++
		if w.rnd.IntN(5) == 0 {
			w.fs.Kill()
		} else {
			w.fs.Crash(w.rnd)
		}
		if w.rnd.IntN(2) == 0 {
			w.fs.Budget = w.rnd.IntN(60) // again, while it recovers
			if w.open() {
				w.fs.Budget = -1
			}
			w.fs.Crash(w.rnd)
		}
		w.fs.Budget = -1
		if w.t.Failed() || !w.open() {
			return
		}
		for _, m := range w.logs {
			m.check()
		}
		if w.rnd.IntN(2) == 0 {
			w.closeAll()
		}
	}
}

// open opens everything; false means that the power is cut.
func (w *crashWorld) open() bool {
	if err := RemoveDeleted(w.t.Context(), w.fs, "/data"); err != nil {
		return w.lives(err)
	}
	cfg := DefaultCommitConfig()
	cfg.Dir, cfg.SegmentBytes, cfg.SizeBytes = "/data/wal", 3*4096, 12*4096
	resolve := func(o Owner) (string, bool) { return fmt.Sprintf("/data/t-%d", o.Partition), true }
	c, err := OpenCommitter(cfg, resolve, slog.New(slog.DiscardHandler), WithCommitFS(w.fs), withoutGoroutines())
	if err != nil {
		return w.lives(err)
	}
	w.c = c
	files := filecache.New(1 + w.rnd.IntN(20))
	for i, m := range w.logs {
		m.options = []Option{WithCommitter(c, int32(i)), WithFiles(files)}
		if m.open(); m.log == nil {
			return false
		}
	}
	if w.rnd.IntN(2) == 0 {
		if err := c.SavePoints(); err != nil {
			return w.lives(err)
		}
	}
	return true
}

func withoutGoroutines() CommitOption { return func(o *commitOptions) { o.manual = true } }

func (w *crashWorld) lives(err error) bool {
	if !errors.Is(err, disktest.ErrPower) {
		w.t.Error(err)
	}
	return false
}

// step does one thing; false means that the power is cut.
func (w *crashWorld) step() bool {
	if w.c.blocked && !w.do(w.checkpoint) {
		return false
	}
	m := w.logs[w.rnd.IntN(len(w.logs))]
	switch n := w.rnd.IntN(100); {
	case n < 85:
		return m.step()
	case n < 90:
		return w.do(w.c.ring.Prepare)
	case n < 96:
		return w.do(w.checkpoint)
	case n < 97:
		return w.do(func() error { return m.remove() })
	case n < 98:
		return w.do(func() error { return m.relax(SyncMode(w.rnd.IntN(3))) })
	default:
		return w.do(w.flush)
	}
}

func (w *crashWorld) do(f func() error) bool {
	err := f()
	return err == nil || w.lives(err)
}

func (w *crashWorld) checkpoint() error {
	full, _ := w.c.ring.Full()
	if full == 0 {
		return nil
	}
	return w.c.checkpoint(full)
}

// flush commits, and then everything that goes through the commit log is durable.
func (w *crashWorld) flush() error {
	if err := w.c.flush(); err != nil {
		return err
	}
	for _, m := range w.logs {
		if !m.log.framing() {
			continue
		}
		if m.log.Durable() != m.log.End() {
			w.t.Errorf("%s: durable is %d after a round, the end is %d", m.dir, m.log.Durable(), m.log.End())
		}
		m.acked = m.log.End()
	}
	return nil
}

// closeAll stops cleanly: nothing is left to replay.
func (w *crashWorld) closeAll() {
	for _, m := range w.logs {
		if err := m.log.Close(); err != nil {
			w.t.Error(err)
		}
		m.acked = m.log.End()
	}
	if err := w.c.Close(); err != nil {
		w.t.Error(err)
	}
	if !w.open() {
		w.t.Error("cannot be opened after a clean stop")
		return
	}
	for _, m := range w.logs {
		m.check()
	}
}

// remove deletes the log and makes another one of the same topic in its place.
func (m *crashModel) remove() error {
	m.acked, m.start, m.resets = 0, 0, true
	if err := m.log.Delete(); err != nil {
		return err
	}
	m.batches = nil
	m.open()
	if m.log == nil {
		return disktest.ErrPower
	}
	return nil
}

// relax changes when appends are acknowledged.
func (m *crashModel) relax(mode SyncMode) error {
	m.cfg.Sync = mode
	return m.log.Reconfigure(m.cfg)
}
