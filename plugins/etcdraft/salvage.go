package etcdraft

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// salvageBytes is how much one Read of remains returns, about.
const salvageBytes = 1 << 20

var _ consensus.Salvager = (*Backend)(nil)

// Salvage implements consensus.Salvager.
func (b *Backend) Salvage(dir string, raw json.RawMessage, g consensus.GroupID) (consensus.Remains, error) {
	options, problems := parseOptions(raw)
	if err := optionsError(problems); err != nil {
		return nil, err
	}
	cfg := seglog.DefaultConfig()
	cfg.SegmentBytes, cfg.Spares = options.LogSegmentBytes, 0
	log, err := seglog.Open(filepath.Join(dir, "log"), cfg, b.fs, slog.Default())
	if err != nil {
		return nil, fmt.Errorf("salvage group %d: %w", g, err)
	}
	r := &remains{
		storage:   storage{log: log, group: uint64(g), fail: func(error) {}}, // every caller gets the error itself
		snapshots: snapshotStore{snapshotDir(dir, uint64(g))},
	}
	if err := r.look(); err != nil {
		return nil, errors.Join(fmt.Errorf("salvage group %d: %w", g, err), log.Close())
	}
	return r, nil
}

// remains is a group in a log that nobody runs.
type remains struct {
	storage   storage
	snapshots snapshotStore
	info      seglog.Info
	meta      snapshotMeta
	extent    consensus.Extent
}

func (r *remains) look() (err error) {
	var ok bool
	if r.info, ok = r.storage.log.Info(r.storage.group); !ok {
		return consensus.ErrGroupNotFound
	}
	if r.meta, err = parseSnapshotMeta(r.info.Mark.Data); err != nil {
		return err
	}
	state, _, err := r.storage.InitialState()
	if err != nil {
		return err
	}
	lastTerm, err := r.storage.Term(r.info.Last)
	if err != nil {
		return err
	}
	r.extent = consensus.Extent{
		Term: state.GetTerm(), Committed: state.GetCommit(), LastIndex: r.info.Last, LastTerm: lastTerm,
		SnapshotIndex: r.info.Mark.Index,
	}
	return nil
}

// Extent implements consensus.Remains.
func (r *remains) Extent() consensus.Extent { return r.extent }

// Snapshot implements consensus.Remains.
func (r *remains) Snapshot() (consensus.SnapshotMeta, io.ReadCloser, error) {
	if r.info.Mark.Index == 0 {
		return consensus.SnapshotMeta{}, nil, consensus.ErrNoSnapshot
	}
	m := consensus.SnapshotMeta{Index: r.info.Mark.Index, Term: r.info.Mark.Term, Format: r.meta.Format, Size: r.meta.Size}
	content, err := r.snapshots.open(m.Term, m.Index, r.meta)
	return m, content, err
}

// Read implements consensus.Remains.
func (r *remains) Read(from uint64) ([]consensus.Entry, error) {
	if from > r.info.Last {
		return nil, nil
	}
	if from < r.info.First {
		return nil, consensus.ErrCompacted
	}
	found, err := r.storage.log.Entries(r.storage.group, from, r.info.Last+1, salvageBytes)
	if err != nil {
		return nil, err
	}
	entries := make([]consensus.Entry, len(found))
	for i, e := range found {
		entries[i] = hostEntry(e)
	}
	return entries, nil
}

// Close implements consensus.Remains.
func (r *remains) Close() error { return r.storage.log.Close() }
