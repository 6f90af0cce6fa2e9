package solo

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/quorate/quorate/consensus"
)

func (g *group) SaveSnapshot(_ context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	g.saving.Lock()
	defer g.saving.Unlock()
	g.mu.RLock()
	last, previous, closed := g.journal.last(), g.snapshot.Index, g.closed
	g.mu.RUnlock()
	switch {
	case closed:
		return consensus.ErrShuttingDown
	case m.Index == 0 || m.Index > last:
		return fmt.Errorf("save snapshot at %d: %w: the log ends at %d", m.Index, consensus.ErrInvalidArgument, last)
	case m.Index <= previous:
		return fmt.Errorf("save snapshot at %d: %w, at %d", m.Index, consensus.ErrSnapshotStale, previous)
	}
	if err := writeSnapshot(g.dir, m, r); err != nil {
		return fmt.Errorf("save snapshot at %d: %w", m.Index, err)
	}
	g.mu.Lock()
	g.snapshot = m
	g.wantSnapshotLocked()
	if keep := g.spec.Tuning.RetainEntries; m.Index > keep {
		g.compactTo = m.Index - keep
		g.wakeUp()
	}
	g.mu.Unlock()
	if previous == 0 {
		return nil
	}
	return os.Remove(snapshotPath(g.dir, previous))
}

func (g *group) Snapshot(context.Context) (consensus.SnapshotMeta, io.ReadCloser, error) {
	g.saving.Lock() // so that the file is not replaced between its name and its opening
	defer g.saving.Unlock()
	g.mu.RLock()
	index := g.snapshot.Index
	g.mu.RUnlock()
	if index == 0 {
		return consensus.SnapshotMeta{}, nil, consensus.ErrNoSnapshot
	}
	return openSnapshot(snapshotPath(g.dir, index))
}

func (g *group) SnapshotWanted() (minIndex uint64, changed <-chan struct{}) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.wanted, g.wantedCh
}

// wantSnapshotLocked decides anew whether a snapshot is wanted.
func (g *group) wantSnapshotLocked() {
	last, wanted := g.journal.last(), uint64(0)
	since := last - g.snapshot.Index
	bytes := g.journal.end
	if i := g.snapshot.Index + 1; i > g.journal.first && i <= last {
		bytes -= g.journal.offsets[i-g.journal.first]
	}
	if since >= g.spec.Tuning.SnapshotRequestEntries || since > 0 && uint64(bytes) >= g.spec.Tuning.SnapshotRequestBytes {
		wanted = last
	}
	if wanted == g.wanted || wanted != 0 && g.wanted != 0 {
		return // what is wanted already stays as it is
	}
	g.wanted = wanted
	close(g.wantedCh)
	g.wantedCh = make(chan struct{})
}
