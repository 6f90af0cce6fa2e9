package etcdraft

import (
	"errors"
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// storage is one group's part of the segment log, as raft wants to read it. The
// writer changes it; raft allows for that.
type storage struct {
	log   *seglog.Log
	group uint64
	fail  func(error) // the disk cannot be read: raft must not get the chance to make do
}

var _ raft.Storage = (*storage)(nil)

// InitialState returns what was recovered. The commit index may have been
// written without a sync before the snapshot that proves a higher one.
func (s *storage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	info, ok := s.log.Info(s.group)
	if !ok {
		return nil, new(raftpb.ConfState), nil
	}
	meta, err := parseSnapshotMeta(info.Mark.Data)
	if err != nil {
		return nil, nil, err
	}
	commit := max(info.State.Commit, info.Mark.Index)
	if commit > info.Last {
		return nil, nil, fmt.Errorf("%w: entries up to %d are committed, the log ends at %d",
			consensus.ErrStorageFailed, commit, info.Last)
	}
	state := &raftpb.HardState{Term: new(info.State.Term), Vote: new(info.State.Vote), Commit: new(commit)}
	if info.State.Term < info.Mark.Term { // the same, for the term of an installed snapshot
		state.Term, state.Vote = new(info.Mark.Term), new(uint64(0))
	}
	return state, meta.Config.confState(), nil
}

// Entries implements raft.Storage.
func (s *storage) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	entries, err := s.log.Entries(s.group, lo, hi, int64(min(maxSize, math.MaxInt64)))
	if err != nil {
		return nil, s.translate(err)
	}
	result := make([]*raftpb.Entry, len(entries))
	for i, e := range entries {
		result[i] = &raftpb.Entry{
			Index: new(e.Index), Term: new(e.Term), Type: raftpb.EntryType(e.Type).Enum(), Data: e.Data,
		}
	}
	return result, nil
}

// Term implements raft.Storage.
func (s *storage) Term(index uint64) (uint64, error) {
	term, err := s.log.Term(s.group, index)
	return term, s.translate(err)
}

// LastIndex implements raft.Storage.
func (s *storage) LastIndex() (uint64, error) {
	info, _ := s.log.Info(s.group)
	return info.Last, nil
}

// FirstIndex implements raft.Storage.
func (s *storage) FirstIndex() (uint64, error) {
	info, _ := s.log.Info(s.group)
	return info.First, nil
}

// Snapshot implements raft.Storage: only what the log's mark says, the content
// is sent from its file.
func (s *storage) Snapshot() (*raftpb.Snapshot, error) {
	info, _ := s.log.Info(s.group)
	if info.Mark.Index == 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	meta, err := parseSnapshotMeta(info.Mark.Data)
	if err != nil {
		return nil, err
	}
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: new(info.Mark.Index), Term: new(info.Mark.Term), ConfState: meta.Config.confState(),
	}}, nil
}

func (s *storage) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, seglog.ErrCompacted):
		return raft.ErrCompacted
	case errors.Is(err, seglog.ErrUnavailable):
		return raft.ErrUnavailable
	}
	s.fail(err)
	return err
}

// logEntries returns raft's entries as the log stores them. The data is shared.
func logEntries(entries []*raftpb.Entry) []seglog.Entry {
	result := make([]seglog.Entry, len(entries))
	for i, e := range entries {
		result[i] = seglog.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Type: uint8(e.GetType()), Data: e.GetData()}
	}
	return result
}

// proposalMark is the first byte of the data of an entry that the host
// proposed. It tells an empty proposal from raft's own empty entries.
const proposalMark = 1

// hostEntry returns a log entry as the host sees it.
func hostEntry(e seglog.Entry) consensus.Entry {
	if isProposal(raftpb.EntryType(e.Type), e.Data) {
		return consensus.Entry{Index: e.Index, Term: e.Term, Data: e.Data[1:len(e.Data):len(e.Data)]}
	}
	return consensus.Entry{Index: e.Index, Term: e.Term, Internal: true}
}

func isProposal(t raftpb.EntryType, data []byte) bool {
	return t == raftpb.EntryNormal && len(data) > 0 && data[0] == proposalMark
}
