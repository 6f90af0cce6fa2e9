package hashicorpraft

import (
	"context"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// SaveSnapshot stores the host's state at m.Index, with the configuration that
// was in force there, and then drops what the retention does not keep. The
// library is not asked: see snapshots.
func (g *group) SaveSnapshot(_ context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	g.saving.Lock()
	defer g.saving.Unlock()
	g.mu.Lock()
	commit, closed := g.commit, g.closed
	g.mu.Unlock()
	previous := g.snapshots.current()
	switch {
	case closed:
		return consensus.ErrShuttingDown
	case m.Index == 0 || m.Index > commit:
		return fmt.Errorf("save snapshot at %d: %w: committed is %d", m.Index, consensus.ErrInvalidArgument, commit)
	case m.Index <= previous.Index:
		return fmt.Errorf("save snapshot at %d: %w, at %d", m.Index, consensus.ErrSnapshotStale, previous.Index)
	}
	members := g.store.configurationAt(m.Index)
	meta, err := g.describe(members, m.Index)
	if err != nil {
		return fmt.Errorf("save snapshot at %d: %w", m.Index, err)
	}
	if err := g.snapshots.save(meta, m.Format, r); err != nil {
		return fmt.Errorf("save snapshot at %d: %w", m.Index, err)
	}
	if err := g.store.cover(meta.Index, meta.Term, members); err != nil {
		return err
	}
	g.mu.Lock()
	g.bytes = 0
	g.wantSnapshotLocked()
	g.mu.Unlock()
	if m.Index <= g.spec.Tuning.RetainEntries {
		return nil
	}
	return g.store.compact(m.Index - g.spec.Tuning.RetainEntries)
}

// describe returns what the library needs to know of the log at index.
func (g *group) describe(members configuration, index uint64) (fileMeta, error) {
	m := fileMeta{
		Version: raft.SnapshotVersionMax, Index: index,
		Configuration: raft.EncodeConfiguration(members.Configuration), ConfigurationIndex: members.index,
	}
	var l raft.Log
	if err := g.store.wal.GetLog(index, &l); err != nil {
		return m, fmt.Errorf("read entry %d: %w", index, err)
	}
	m.Term = l.Term
	return m, nil
}

// wantSnapshotLocked decides anew whether a snapshot is wanted.
func (g *group) wantSnapshotLocked() {
	since := g.commit - min(g.store.snapshotIndex(), g.commit)
	want := since >= g.spec.Tuning.SnapshotRequestEntries || since > 0 && g.bytes >= g.spec.Tuning.SnapshotRequestBytes
	if want == (g.wanted != 0) {
		return // what is wanted already stays as it is
	}
	g.wanted = 0
	if want {
		g.wanted = g.commit
	}
	close(g.wantedCh)
	g.wantedCh = make(chan struct{})
}
