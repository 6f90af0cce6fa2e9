package hashicorpraft

import (
	"errors"
	"io"

	"github.com/hashicorp/raft"
)

// counter is the library's state machine. The real one is the host's, which
// reads from the log: this one only passes on how far the log is committed. It
// must never block, or the library's main loop would.
type counter struct {
	committed func(index, bytes uint64)
}

var _ raft.BatchingFSM = counter{}

// ApplyBatch answers each proposal with the term that its entry got.
func (c counter) ApplyBatch(logs []*raft.Log) []any {
	terms := make([]any, len(logs))
	bytes := 0
	for i, l := range logs {
		terms[i] = l.Term
		bytes += len(l.Data)
	}
	c.committed(logs[len(logs)-1].Index, uint64(bytes))
	return terms
}

// Apply is not called: the library prefers ApplyBatch.
func (c counter) Apply(l *raft.Log) any { return c.ApplyBatch([]*raft.Log{l})[0] }

// Snapshot refuses: the host saves snapshots, by another way.
func (c counter) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("snapshots are saved by the host")
}

// Restore has nothing to do: the snapshot's file is in place already.
func (c counter) Restore(io.ReadCloser) error { return nil }
