package hashicorpraft

import (
	"context"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// Who joins a cluster whose log is compacted is sent a snapshot with the members of
// its position, who are the others. It was not removed: it waits for the entry that
// adds it, also after a restart.
func TestJoinBySnapshotIsNotRemoved(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		c := newCluster(t)
		c.store = store
		n := c.start(2, 2).open(consensus.OpenJoin)
		other := raft.Server{ID: "1", Address: "127.0.0.1:1"}
		sink, err := n.group.snapshots.Create(1, 100, 3, raft.Configuration{Servers: []raft.Server{other}}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		content, err := newContentWriter(sink, "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := content.Write([]byte(`{"Index": 100, "Term": 3}`)); err != nil {
			t.Fatal(err)
		}
		if err := content.finish(); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
		if m := n.group.Members(); len(m.Members) != 1 || m.Members[0].ReplicaID != 1 {
			t.Fatalf("after the snapshot: %+v", m)
		}
		if role := n.group.passiveRole(); role != consensus.Follower {
			t.Errorf("after a snapshot without it, a replica that joins is %s, want %s", role, consensus.Follower)
		}
		n = n.again()
		if role := n.group.passiveRole(); role != consensus.Follower {
			t.Errorf("and after a restart it is %s", role)
		}
		n.end()
	})
}

// A replica that was removed, and whose log no longer holds that it was a member,
// still knows.
func TestRemovedIsRememberedWithoutTheLog(t *testing.T) {
	onBothStores(t, func(t *testing.T, store string) {
		c := newCluster(t)
		c.store, c.tuning.RetainEntries = store, 1
		c.bootstrap(2)
		stop := c.load(4)
		c.more(20)
		stop()
		old, _ := c.leader()
		c.remove(old)
		c.eventually("the removed leader knows", old.is(consensus.Removed))
		c.eventually("it has applied its removal", func() bool {
			old.mu.Lock()
			defer old.mu.Unlock()
			return old.state.Index >= old.group.Members().ConfigIndex
		})
		old.save()
		old = old.again()
		if first, _ := old.group.store.firstReadable(); first < 3 {
			t.Fatalf("the log still begins at %d", first)
		}
		if role := old.group.passiveRole(); role != consensus.Removed {
			t.Errorf("after a restart on a log that begins behind its removal it is %s", role)
		}
		old.end()
	})
}

// again stops n and opens it on the same data, as nodes are after a restart.
func (n *node) again() *node {
	n.c.t.Helper()
	n.end()
	next := &node{c: n.c, backend: newBackend(), member: n.member, state: state{Counts: map[string]int{}}}
	next.backend.fatal = n.backend.fatal
	if err := next.backend.Start(context.Background(), n.backend.cfg); err != nil {
		n.c.t.Fatal(err)
	}
	return next.open(consensus.OpenRecover)
}
