package solo

import (
	"context"
	"fmt"
	"io"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// SaveSnapshot stores a snapshot, and then drops what it covers from the log.
func (g *group) SaveSnapshot(ctx context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	g.saving.Lock()
	defer g.saving.Unlock()
	term, err := g.log.Term(g.id, m.Index)
	switch committed, _ := g.committed.Get(); {
	case m.Index < g.snapshots.Newest().Index:
		return fmt.Errorf("save snapshot at %d: %w", m.Index, consensus.ErrSnapshotStale)
	case m.Index > committed || err != nil || term != m.Term:
		return fmt.Errorf("%w: the log has no entry %d of term %d", consensus.ErrInvalidArgument, m.Index, m.Term)
	}
	if err := g.snapshots.Save(ctx, m, r); err != nil {
		return err
	}
	return g.compact()
}

// compact drops the entries that the newest snapshot covers: there is no follower
// who could want them. After a crash it does what had been left undone.
func (g *group) compact() error {
	info, _ := g.log.Info(g.id)
	newest := g.snapshots.Newest()
	if newest.Index < info.Mark.Index {
		return fmt.Errorf("%w: the log begins behind a snapshot at %d, the newest one is at %d", consensus.ErrStorageFailed, info.Mark.Index, newest.Index)
	}
	if newest.Index == info.Mark.Index {
		return nil
	}
	mark := seglog.Mark{Index: newest.Index, Term: newest.Term, CompactedIndex: newest.Index, CompactedTerm: newest.Term}
	if err := g.log.Append(true, seglog.Write{Group: g.id, Mark: &mark}); err != nil {
		return err
	}
	g.wish.Update(g.length)
	return nil
}

func (g *group) Snapshot(context.Context) (consensus.SnapshotMeta, io.ReadCloser, error) {
	return g.snapshots.Open()
}

func (g *group) SnapshotWanted() (minIndex uint64, changed <-chan struct{}) { return g.wish.Get() }
