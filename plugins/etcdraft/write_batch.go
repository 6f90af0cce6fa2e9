package etcdraft

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/plugins/seglog"
)

// writeBatch gathers tasks into one write per group, as the log wants them.
type writeBatch struct {
	writes []seglog.Write
	sync   bool
}

// add takes t, or returns false if it does not go with what the batch has of its
// group already: entries that do not follow, or a snapshot.
func (b *writeBatch) add(t *appendTask) bool {
	w := b.find(t.g.id)
	entries := t.m.GetEntries()
	if w != nil {
		if t.snapshot != nil || (len(entries) > 0 && len(w.Entries) > 0 &&
			entries[0].GetIndex() != w.Entries[len(w.Entries)-1].Index+1) {
			return false
		}
	} else {
		b.writes = append(b.writes, seglog.Write{Group: t.g.id})
		w = &b.writes[len(b.writes)-1]
	}
	if t.snapshot != nil {
		w.Mark = t.snapshot.mark()
	}
	w.Entries = append(w.Entries, logEntries(entries)...)
	if state := hardState(t.m); state != nil {
		w.State = state
	}
	b.sync = b.sync || t.needsSync()
	return true
}

func (b *writeBatch) find(group uint64) *seglog.Write {
	for i := range b.writes {
		if b.writes[i].Group == group {
			return &b.writes[i]
		}
	}
	return nil
}

// hardState returns the hard state in a MsgStorageAppend, nil if it has none.
func hardState(m *raftpb.Message) *seglog.State {
	if m.GetTerm() == 0 && m.GetVote() == 0 && m.GetCommit() == 0 {
		return nil
	}
	return &seglog.State{Term: m.GetTerm(), Vote: m.GetVote(), Commit: m.GetCommit()}
}
