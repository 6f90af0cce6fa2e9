package solo

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/quorate/quorate/consensus"
)

// write is the group's goroutine. It returns once the group is closed and
// nothing is pending, or the disk has failed.
func (g *group) write() {
	defer close(g.done)
	idle := time.NewTicker(idleTurn)
	defer idle.Stop()
	for {
		select {
		case <-g.wake:
		case <-idle.C:
		}
		g.lastTurn.Store(time.Now().UnixNano())
		batch, compactTo, closed := g.take()
		if err := g.commit(batch); err != nil {
			g.fail(batch, err)
			return
		}
		if err := g.compact(compactTo); err != nil {
			g.fail(nil, err)
			return
		}
		if closed {
			return
		}
	}
}

func (g *group) take() (batch []proposal, compactTo uint64, closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	batch, compactTo, closed = g.pending, g.compactTo, g.closed
	g.pending, g.pendingBytes, g.compactTo = nil, 0, 0
	return batch, compactTo, closed
}

// commit makes batch durable in one write and one sync, shows it to readers,
// and only then answers.
func (g *group) commit(batch []proposal) error {
	if len(batch) == 0 {
		return nil
	}
	entries := make([]consensus.Entry, len(batch))
	next := g.journal.last() + 1
	for i, p := range batch {
		entries[i] = consensus.Entry{Index: next + uint64(i), Term: g.term, Data: p.data}
	}
	g.syncSince.Store(time.Now().UnixNano())
	commit, err := g.journal.write(entries)
	g.syncSince.Store(0)
	if err != nil {
		return fmt.Errorf("write %d entries: %w", len(entries), err)
	}
	g.mu.Lock()
	commit()
	close(g.appended)
	g.appended = make(chan struct{})
	g.wantSnapshotLocked()
	g.mu.Unlock()
	g.committed.Add(uint64(len(batch)))
	for i, p := range batch {
		p.done(consensus.Result{Outcome: consensus.Committed, Index: entries[i].Index})
	}
	return nil
}

// compact rewrites the log without the entries up to index to, but never
// without its last one, which holds the term.
func (g *group) compact(to uint64) error {
	to = min(to, g.journal.last()-1)
	if to < g.journal.first {
		return nil
	}
	rest, err := g.journal.readAt(to+1, math.MaxInt)
	if err != nil {
		return fmt.Errorf("compact to %d: %w", to, err)
	}
	j, err := createJournal(filepath.Join(g.dir, "log"), to+1, rest)
	if err != nil {
		return fmt.Errorf("compact to %d: %w", to, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.journal.f
	g.journal = j
	g.wantSnapshotLocked()
	return old.Close()
}

// fail is the end (rule S2): what was written may or may not be on the disk,
// so it is Unknown, and nothing is written any more.
func (g *group) fail(batch []proposal, err error) {
	err = errors.Join(consensus.ErrStorageFailed, err)
	g.mu.Lock()
	g.failed = err
	g.leadership = consensus.Leadership{Term: g.term}
	close(g.led)
	g.led = make(chan struct{})
	rest := g.pending
	g.pending = nil
	g.mu.Unlock()
	g.b.fatal(err)
	for _, p := range batch {
		g.unsure.Add(1)
		p.done(consensus.Result{Err: err})
	}
	for _, p := range rest {
		g.rejected.Add(1)
		p.done(consensus.Result{Outcome: consensus.Rejected, Err: err})
	}
}
