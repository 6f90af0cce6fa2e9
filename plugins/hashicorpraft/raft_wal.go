package hashicorpraft

import (
	"errors"
	"fmt"
	"log/slog"

	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// openRaftWAL opens raft-wal v0.4.0, and mends two things in it.
func openRaftWAL(dir string, segmentBytes int) (wal, error) {
	meta := &metadb.BoltMetaDB{}
	w, err := raftwal.Open(dir,
		raftwal.WithSegmentSize(segmentBytes),
		raftwal.WithMetaStore(meta),
		raftwal.WithSegmentFiler(filer{segment.NewFiler(dir, fs.New())}),
		raftwal.WithLogger(logger{to: slog.Default().With("component", "raft-wal")}))
	if err != nil {
		return nil, errors.Join(err, meta.Close())
	}
	return ownedLog{w, meta}, nil
}

// ownedLog closes the metadata store, which raft-wal's Close leaves open, and locked.
type ownedLog struct {
	*raftwal.WAL
	meta *metadb.BoltMetaDB
}

// Close closes both.
func (l ownedLog) Close() error { return errors.Join(l.WAL.Close(), l.meta.Close()) }

// filer opens segments that were sealed without an index. raft-wal makes one
// whenever it cuts off the end of its newest segment, as happens to a leader
// that lost its term, and can not read it after a restart
// (https://github.com/hashicorp/raft-wal/issues/31). Its recovery of the newest
// segment finds the entries by reading them, and serves for these as well.
type filer struct{ types.SegmentFiler }

// Open implements types.SegmentFiler.
func (f filer) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart != 0 {
		return f.SegmentFiler.Open(info)
	}
	r, err := f.RecoverTail(info)
	if err != nil {
		return nil, fmt.Errorf("read segment of entry %d: %w", info.BaseIndex, err)
	}
	if last := r.LastIndex(); last < info.MaxIndex {
		return nil, errors.Join(fmt.Errorf("%w: the segment of entry %d should end at %d, and ends at %d",
			types.ErrCorrupt, info.BaseIndex, info.MaxIndex, last), r.Close())
	}
	return r, nil
}
