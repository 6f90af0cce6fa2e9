package hashicorpraft

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// salvageBytes is how much one Read of remains returns, about.
const salvageBytes = 1 << 20

var _ consensus.Salvager = (*backend)(nil)

// Salvage implements consensus.Salvager. The library writes no commit index down.
func (b *backend) Salvage(dir string, raw json.RawMessage, g consensus.GroupID) (consensus.Remains, error) {
	options, problems := parseOptions(raw)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w: option %q: %s", consensus.ErrInvalidArgument, problems[0].Path, problems[0].Message)
	}
	dir = groupDir(dir, g)
	if _, err := os.Stat(filepath.Join(dir, logFolder)); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("salvage group %d: %w", g, consensus.ErrGroupNotFound)
	}
	options.LogStore = "" // whatever it was made with
	w, err := b.openLog(dir, options)
	if err != nil {
		return nil, fmt.Errorf("salvage group %d: %w", g, err)
	}
	r := &remains{store: &store{wal: w, fatal: func(error) {}}} // every caller gets the error itself
	if err := r.look(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("salvage group %d: %w", g, err), w.Close())
	}
	return r, nil
}

// remains is the group in a log that nobody runs.
type remains struct {
	store     *store
	snapshots *snapshots
	extent    consensus.Extent
}

func (r *remains) look(dir string) (err error) {
	if r.snapshots, err = openSnapshots(filepath.Join(dir, "snapshots")); err != nil {
		return err
	}
	s := r.snapshots.newest
	if s.Index > 0 {
		if err := r.store.cover(s.Index, s.Term, configuration{s.Configuration, s.ConfigurationIndex}); err != nil {
			return err
		}
	}
	r.extent = consensus.Extent{LastIndex: s.Index, LastTerm: s.Term, Committed: s.Index, SnapshotIndex: s.Index}
	_, last, err := r.store.bounds()
	if err != nil {
		return err
	}
	if last > s.Index {
		var l raft.Log
		if err := r.store.GetLog(last, &l); err != nil {
			return err
		}
		r.extent.LastIndex, r.extent.LastTerm = last, l.Term
	}
	if r.extent.LastIndex == 0 {
		return consensus.ErrGroupNotFound
	}
	term, err := r.store.GetUint64([]byte("CurrentTerm")) // the library's name for it
	if err != nil {
		return err
	}
	r.extent.Term = max(term, r.extent.LastTerm)
	return nil
}

// Extent implements consensus.Remains.
func (r *remains) Extent() consensus.Extent { return r.extent }

// Snapshot implements consensus.Remains.
func (r *remains) Snapshot() (consensus.SnapshotMeta, io.ReadCloser, error) {
	return r.snapshots.open()
}

// Read implements consensus.Remains.
func (r *remains) Read(from uint64) ([]consensus.Entry, error) {
	first, err := r.store.firstReadable()
	switch {
	case err != nil:
		return nil, err
	case from > r.extent.LastIndex:
		return nil, nil
	case from < first:
		return nil, consensus.ErrCompacted
	}
	return r.store.entries(from, r.extent.LastIndex, salvageBytes)
}

// Close implements consensus.Remains.
func (r *remains) Close() error { return r.store.wal.Close() }
