package hashicorpraft

import (
	"testing"

	"github.com/hashicorp/raft"
)

func members(ids ...raft.ServerID) raft.Configuration {
	var c raft.Configuration
	for _, id := range ids {
		c.Servers = append(c.Servers, raft.Server{ID: id, Address: raft.ServerAddress("at-" + id)})
	}
	return c
}

// The members follow the log: what is appended counts at once, and no more once
// it was cut off; a snapshot's take the place of those before it.
func TestConfigurationsFollowTheLog(t *testing.T) {
	s := openStore(t, storeSegments, t.TempDir())
	t.Cleanup(func() {
		if err := s.wal.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := uint64(1); i <= 10; i++ {
		l := &raft.Log{Index: i, Term: 1, Type: raft.LogCommand}
		if i == 1 || i == 4 || i == 8 {
			l.Type, l.Data = raft.LogConfiguration, raft.EncodeConfiguration(members("1", raft.ServerID(rune('0'+i))))
		}
		if err := s.StoreLog(l); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, at, index uint64) {
		t.Helper()
		if got := s.configurationAt(at); got.index != index {
			t.Errorf("%s: at %d the members are those of %d, want %d", when, at, got.index, index)
		}
	}
	want("appended", 100, 8)
	want("appended", 7, 4)
	want("appended", 3, 1)
	if err := s.DeleteRange(8, 10); err != nil {
		t.Fatal(err)
	}
	want("cut off", 100, 4)
	if s.install(2, 1, configuration{members("1"), 1}) {
		t.Error("a snapshot below a change of members must be told")
	}
	want("a snapshot below", 100, 4)
	want("a snapshot below", 3, 1)
	if !s.install(20, 2, configuration{members("1", "5"), 15}) {
		t.Error("a snapshot above the log is not told apart")
	}
	want("a snapshot above", 100, 15)
	want("a snapshot above", 20, 15)
}
