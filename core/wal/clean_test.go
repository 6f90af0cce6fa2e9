package wal

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/core/wal/disk/disktest"
	"github.com/quorate/quorate/protocol/record"
)

func contextOf(*cleanModel) context.Context { return context.Background() }

// drawn makes rapid choices.
type drawn struct{ t *rapid.T }

func (d drawn) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "n") }

// Whatever is written, compacted, truncated, deleted and opened again, on a leader and
// on a follower that copies from it: the newest record of every key survives with its
// offset, order stays, a deleted key does not come back, and producers go on.
func TestCleanModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newCleanModel(rt.Fatalf, drawn{rt})
		m.open()
		f := &follower{dir: "/data/t-1", m: m}
		f.open()
		must := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(*rapid.T) { must(m.append()) },
			"burst": func(*rapid.T) {
				for range 12 {
					must(m.append())
				}
			},
			"sync":     func(*rapid.T) { must(m.sync()) },
			"clean":    func(*rapid.T) { must(m.clean(m.log)) },
			"truncate": func(*rapid.T) { must(m.truncate()); f.copy() },
			"start":    func(*rapid.T) { must(m.setStart()) },
			"epoch":    func(*rapid.T) { m.epoch++; must(m.log.StartEpoch(m.epoch)) },
			"restart":  func(*rapid.T) { must(m.close()); m.open() },
			"kill":     func(*rapid.T) { m.acked = m.log.Durable(); m.open() },
			"follow":   func(*rapid.T) { f.copy() },
			"refollow": func(*rapid.T) { must(f.log.Reset(m.log.Start())); f.copy() },
			"clean follower": func(*rapid.T) {
				must(m.sync())
				f.copy()
				must(m.clean(f.log))
				m.check(f.log)
			},
			"restart follower": func(*rapid.T) { must(f.log.Close()); f.open() },
			"wait": func(*rapid.T) {
				f.copy() // one that is away for longer than tombstones are kept misses them
				m.now = m.now.Add(time.Duration(10+m.pick.IntN(80)) * time.Minute)
			},
			"": func(*rapid.T) { m.check(m.log) },
		})
	})
}

// follower is a log that copies another one, as core/replica does.
type follower struct {
	dir string
	m   *cleanModel
	log *Log
}

func (f *follower) open() {
	l, err := Open(f.dir, f.m.cfg, slog.New(slog.DiscardHandler), WithFS(f.m.fs), WithTopicID([16]byte{2}),
		WithClock(func() time.Time { return f.m.now }))
	if err != nil {
		f.m.fail("open follower: %v", err)
	}
	f.log = l
}

func (f *follower) copy() {
	leader := f.m.log
	if f.log.End() > leader.End() {
		if err := f.log.Truncate(leader.End()); err != nil {
			f.m.fail("truncate follower: %v", err)
		}
	}
	for f.log.End() < leader.End() {
		if f.log.End() < leader.Start() {
			if err := f.log.Reset(leader.Start()); err != nil {
				f.m.fail("reset follower: %v", err)
			}
			continue
		}
		b, err := leader.Read(f.log.End(), leader.End(), 700, true)
		if err != nil || len(b) == 0 {
			f.m.fail("a follower at %d of %d gets nothing: %v", f.log.End(), leader.End(), err)
		}
		if err := record.Validate(b, record.Limits{AllowControl: true, AllowCompacted: true}); err != nil {
			f.m.fail("a follower refuses what it gets: %v", err)
		}
		if _, err := f.log.AppendAsFollower(b); err != nil {
			f.m.fail("append as follower: %v", err)
		}
	}
	if start := leader.Start(); start > f.log.Start() {
		if err := f.log.SetStart(start); err != nil {
			f.m.fail("start of follower: %v", err)
		}
	}
	for epoch := range leader.LatestEpoch() + 1 { // exact, or late records would be taken for everybody's
		e1, end1, ok1 := leader.EndOffsetForEpoch(epoch)
		e2, end2, ok2 := f.log.EndOffsetForEpoch(epoch)
		if ok1 && ok2 && e1 == e2 && end1 != end2 && end1 > f.log.Start() && end2 > f.log.Start() {
			f.m.fail("epoch %d ends at %d, on the follower at %d", epoch, end1, end2)
		}
	}
	f.m.check(f.log)
}

var cleanSeeds = flag.Uint64("clean.seeds", 150, "how many seeds TestCleanCrash tries with and without a commit log")

var cleanSeed = flag.Uint64("clean.seed", 0, "the first seed of TestCleanCrash")

// TestCleanCrash does the same to a log, cuts the power at a random call to the file
// system, and opens the log again: whatever state a compaction was interrupted in.
func TestCleanCrash(t *testing.T) {
	for _, committed := range []bool{false, true} {
		for seed := *cleanSeed; seed < *cleanSeed+*cleanSeeds; seed++ {
			rnd := rand.New(rand.NewPCG(seed, 29))
			w := &cleanWorld{cleanModel: newCleanModel(failing(t, seed), rnd), rnd: rnd, committed: committed}
			w.run()
		}
	}
}

// cleanWorld is a log, maybe with a commit log, on a disk whose power is cut.
type cleanWorld struct {
	*cleanModel
	rnd       *rand.Rand
	committed bool
}

func (w *cleanWorld) run() {
	rnd := w.pick
	for range 6 {
		w.fs.Budget = 30 + rnd.IntN(600)
		for alive := w.open(); alive; {
			alive = w.step()
		}
		w.crash()
		if rnd.IntN(2) == 0 {
			w.fs.Budget = rnd.IntN(60) // again, while it recovers
			if w.open() {
				w.fs.Budget = -1
			}
			w.crash()
		}
		if !w.open() {
			w.fail("no power")
		}
		w.check(w.log)
		if rnd.IntN(2) == 0 {
			w.lives(w.clean(w.log))
			w.check(w.log)
			w.lives(w.close())
			if w.c != nil {
				w.lives(w.c.Close())
			}
			w.open()
			w.check(w.log)
		}
	}
}

func (w *cleanWorld) crash() {
	if w.pick.IntN(4) == 0 {
		w.fs.Kill()
		return
	}
	w.fs.Crash(w.rnd)
}

func (w *cleanWorld) open() bool {
	if !w.committed {
		return w.cleanModel.open()
	}
	cfg := DefaultCommitConfig()
	cfg.Dir, cfg.SegmentBytes, cfg.SizeBytes = "/data/wal", 4*4096, 16*4096
	c, err := OpenCommitter(cfg, func(Owner) (string, bool) { return w.dir, true }, slog.New(slog.DiscardHandler), WithCommitFS(w.fs), withoutGoroutines())
	if !w.lives(err) {
		return false
	}
	w.c = c
	if !w.cleanModel.open(WithCommitter(c, 0)) {
		return false
	}
	return w.pick.IntN(2) == 0 || w.lives(c.SavePoints())
}

// lives tells if the power is there.
func (w *cleanWorld) lives(err error) bool {
	if err != nil && !errors.Is(err, disktest.ErrPower) {
		w.fail("%v", err)
	}
	return err == nil
}

func (w *cleanWorld) step() bool {
	if w.c != nil {
		if full, _ := w.c.ring.Full(); full != 0 && (w.c.blocked || w.pick.IntN(8) == 0) {
			if !w.lives(w.c.checkpoint(full)) {
				return false
			}
		}
	}
	switch n := w.pick.IntN(100); {
	case n < 60:
		return w.lives(w.append())
	case n < 75:
		return w.lives(w.sync())
	case n < 85:
		return w.lives(w.clean(w.log))
	case n < 89:
		return w.lives(w.truncate())
	case n < 91:
		return w.lives(w.setStart())
	case n < 93:
		w.epoch++
		return w.lives(w.log.StartEpoch(w.epoch))
	case n < 94:
		return w.lives(w.reset())
	case n < 97:
		w.now = w.now.Add(time.Duration(10+w.pick.IntN(80)) * time.Minute)
		return true
	default:
		if !w.lives(w.close()) {
			return false
		}
		return w.reopen()
	}
}

// reopen opens the log of a committer that goes on.
func (w *cleanWorld) reopen() bool {
	if w.c == nil {
		return w.cleanModel.open()
	}
	return w.cleanModel.open(WithCommitter(w.c, 0))
}
