package etcdraft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// transferLimit is how long a snapshot that is being sent holds back the
// compaction of the entries behind it.
const transferLimit = 10 * time.Minute

// SaveSnapshot implements consensus.Group.
func (g *group) SaveSnapshot(ctx context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	g.saveMu.Lock()
	defer g.saveMu.Unlock()
	if err := g.checkSnapshot(m); err != nil {
		return err
	}
	file, err := g.snapshots.write(ctx, r)
	if err != nil {
		return err
	}
	meta := snapshotMeta{Config: g.configAt(m.Index), Format: m.Format, Size: file.size, SHA256: file.sum}
	if err := g.storeSnapshot(m, meta, file); err != nil {
		return errors.Join(fmt.Errorf("save snapshot %d: %w", m.Index, err), file.remove())
	}
	g.snapshotCounts.saved.Add(1)
	g.afterSnapshot(m.Index)
	g.log.Info("saved a snapshot", "index", m.Index, "bytes", file.size)
	return nil
}

// checkSnapshot refuses a snapshot that is not one of this log's applied states.
func (g *group) checkSnapshot(m consensus.SnapshotMeta) error {
	if g.ctx.Err() != nil {
		return consensus.ErrShuttingDown
	}
	info, _ := g.store.log.Info(g.id)
	if m.Index <= info.Mark.Index {
		return fmt.Errorf("%w: at %d, got %d", consensus.ErrSnapshotStale, info.Mark.Index, m.Index)
	}
	if delivered, _ := g.delivered.Get(); m.Index > delivered {
		return fmt.Errorf("%w: snapshot at %d, committed up to %d", consensus.ErrInvalidArgument, m.Index, delivered)
	}
	if len(g.configAt(m.Index).Voters) == 0 {
		return fmt.Errorf("%w: a snapshot carries the members at its index, and they are not known here yet", consensus.ErrUnavailable)
	}
	term, err := g.store.log.Term(g.id, m.Index)
	if err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrSnapshotStale, err)
	}
	if term != m.Term {
		return fmt.Errorf("%w: snapshot at %d/%d, the entry's term is %d", consensus.ErrInvalidArgument, m.Term, m.Index, term)
	}
	return nil
}

// storeSnapshot makes the file and then the mark durable. Until the mark is, the
// file does not count.
func (g *group) storeSnapshot(m consensus.SnapshotMeta, meta snapshotMeta, file *tempSnapshot) error {
	data, err := meta.encode()
	if err != nil {
		return err
	}
	compacted, term, err := g.compactTo(m.Index)
	if err != nil {
		return err
	}
	if err := file.commit(m.Term, m.Index); err != nil {
		return err
	}
	err = g.backend.writer.do(g, &seglog.Write{Group: g.id, Mark: &seglog.Mark{
		Index: m.Index, Term: m.Term, CompactedIndex: compacted, CompactedTerm: term, Data: data,
	}})
	if errors.Is(err, seglog.ErrInvalid) {
		return fmt.Errorf("%w: %w", consensus.ErrSnapshotStale, err)
	}
	return err
}

// compactTo returns up to where entries are dropped once there is a snapshot at
// index: its retention stays for slow followers, and so does everything behind a
// snapshot that is on its way to one.
func (g *group) compactTo(index uint64) (compacted, term uint64, err error) {
	info, _ := g.store.log.Info(g.id)
	compacted = index - min(index, g.tuning.RetainEntries)
	compacted = max(compacted, g.store.log.IndexForBytes(g.id, index, int64(g.tuning.RetainBytes))-1)
	g.mu.Lock()
	for _, t := range g.transfers {
		if time.Since(t.started) < transferLimit {
			compacted = min(compacted, t.index)
		}
	}
	g.mu.Unlock()
	compacted = max(min(compacted, index), info.Mark.CompactedIndex)
	term, err = g.store.log.Term(g.id, compacted)
	return compacted, term, err
}

// afterSnapshot tidies up behind a new snapshot mark.
func (g *group) afterSnapshot(index uint64) {
	info, _ := g.store.log.Info(g.id)
	if err := g.snapshots.removeBelow(info.Mark.Index); err != nil {
		g.log.Warn("remove old snapshots", "error", err)
	}
	g.mu.Lock()
	g.history.forget(index)
	g.mu.Unlock()
	g.bytesSince.Store(0)
	if wanted, _ := g.wanted.Get(); wanted <= index {
		g.wanted.Set(0)
	}
}

// Snapshot implements consensus.Group.
func (g *group) Snapshot(context.Context) (consensus.SnapshotMeta, io.ReadCloser, error) {
	for {
		info, _ := g.store.log.Info(g.id)
		if info.Mark.Index == 0 {
			return consensus.SnapshotMeta{}, nil, consensus.ErrNoSnapshot
		}
		meta, err := parseSnapshotMeta(info.Mark.Data)
		if err != nil {
			return consensus.SnapshotMeta{}, nil, err
		}
		r, err := g.snapshots.open(info.Mark.Term, info.Mark.Index, meta)
		if errors.Is(err, os.ErrNotExist) {
			if now, _ := g.store.log.Info(g.id); now.Mark.Index != info.Mark.Index {
				continue // replaced in between
			}
		}
		if err != nil {
			return consensus.SnapshotMeta{}, nil, err
		}
		return consensus.SnapshotMeta{
			Index: info.Mark.Index, Term: info.Mark.Term, Format: meta.Format, Size: meta.Size,
		}, r, nil
	}
}

// SnapshotWanted implements consensus.Group.
func (g *group) SnapshotWanted() (uint64, <-chan struct{}) { return g.wanted.Get() }

// askForSnapshot raises the wish for a snapshot when enough was delivered since
// the last one. Only the loop calls it.
func (g *group) askForSnapshot(delivered uint64) {
	info, _ := g.store.log.Info(g.id)
	if delivered-min(delivered, info.Mark.Index) < g.tuning.SnapshotRequestEntries &&
		uint64(g.bytesSince.Load()) < g.tuning.SnapshotRequestBytes {
		return
	}
	if len(g.currentConfig().Voters) == 0 {
		return // it could not be saved
	}
	if wanted, _ := g.wanted.Get(); wanted <= info.Mark.Index {
		g.wanted.Set(delivered)
	}
}
