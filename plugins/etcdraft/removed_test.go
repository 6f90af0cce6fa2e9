package etcdraft

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

// deafen lets nobody reach replica i any more, until it starts again; it still
// reaches the others.
func (c *cluster) deafen(i int) {
	c.t.Helper()
	t := c.backends[i].transport
	_ = t.listener.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for conn := range t.inbound {
		_ = conn.Close()
	}
}

// TestRemovedWhileCutOff: the commit that removes a replica cannot reach it.
func TestRemovedWhileCutOff(t *testing.T) {
	t.Parallel()
	for _, role := range []consensus.Role{consensus.Follower, consensus.Learner} {
		t.Run(role.String(), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 3, "", nil)
			c.openAll()
			c.commit([]byte("x"))
			leader, _ := c.leader(c.groups)
			gone := (leader + 1) % 3
			if role == consensus.Learner {
				c.change(change(consensus.Demote, gone))
			}
			c.awaitRole(gone, role)
			c.awaitCaughtUp(gone)
			c.deafen(gone)
			c.remove(gone)
			for range 2 {
				c.awaitRole(gone, consensus.Removed)
				g := c.groups[gone].(*group)
				if !g.currentConfig().has(g.self) {
					t.Error("it learned of its removal from its log")
				}
				c.commit([]byte("y"))
				if r := propose(g, 1, nil); r.Outcome != consensus.Rejected {
					t.Errorf("propose to a removed replica: %+v", r)
				}
				c.restart(gone) // and is told again
			}
		})
	}
}

// TestRemovalOutlivesSnapshots: who never saw the removal itself knows of it, too.
func TestRemovalOutlivesSnapshots(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.tuning = consensus.GroupTuning{RetainEntries: 1, RetainBytes: 1}
	c.openAll()
	leader, _ := c.leader(c.groups)
	gone := (leader + 1) % 3
	c.stop(gone)
	c.remove(gone)
	c.commit([]byte("behind the removal"))
	for i, g := range c.groups {
		if g != nil {
			c.awaitCaughtUp(i)
			c.saveSnapshot(i, "the state")
		}
	}
	joined := c.join()
	if _, removed := c.groups[joined].(*group).removalOf(uint64(gone + 1)); removed {
		t.Error("a replica without a configuration knows who was removed")
	}
	c.grow(joined)
	c.restart(joined)
	c.awaitCaughtUp(joined)
	if _, removed := c.groups[joined].(*group).removalOf(uint64(gone + 1)); !removed {
		t.Error("a replica that joined by snapshot does not know who was removed")
	}
}

func TestWhoIsToldOfARemoval(t *testing.T) {
	one, two := []uint64{1}, []uint64{2}
	tests := []struct {
		name   string
		config config
		want   bool // of replica 2
	}{
		{"a voter", config{Index: 7, Voters: two}, false},
		{"a learner", config{Index: 7, Voters: one, Learners: two}, false},
		{"a voter that leaves", config{Index: 7, Voters: one, VotersOutgoing: two}, false},
		{"one that is not known yet", config{Index: 7, Voters: one}, false},
		{"one that waits, and knows nobody", config{}, false},
		{"one that was removed", config{Index: 7, Voters: one, Removed: two}, true},
		{"one that was removed, but is a member", config{Index: 7, Voters: two, Removed: two}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := &group{history: history{config{Index: 3, Voters: []uint64{1, 2}}, tt.config}}
			index, got := g.removalOf(2)
			if got != tt.want || (got && index != tt.config.Index) {
				t.Errorf("got %t at %d, want %t", got, index, tt.want)
			}
		})
	}
}

// TestWhoKnowsBetterIsNotTold: what a replica's own log says goes before a peer's word.
func TestWhoKnowsBetterIsNotTold(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	i, _ := c.leader(c.groups)
	follower := (i + 1) % 3
	m := c.change(change(consensus.Demote, follower))
	c.awaitRole(follower, consensus.Learner)
	g := c.groups[follower].(*group)
	told := make(chan bool)
	g.inbox.call(func() {
		g.learnRemoved(9, m.ConfigIndex)
		told <- g.expelled()
	})
	if <-told {
		t.Error("a member believes that it was removed")
	}
}

// TestNoticesOnTheWire: a removed replica is told on the connection that it has
// dialled, and one that does not read, as replicas did before there were notices, is
// written no more than its buffers hold and keeps its connection.
func TestNoticesOnTheWire(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	c.openAll()
	leader, _ := c.leader(c.groups)
	gone := (leader + 1) % 3
	c.stop(gone)
	removal := c.remove(gone)
	eventually(t, "the removal to be applied", func() bool {
		_, removed := c.groups[leader].(*group).removalOf(uint64(gone + 1))
		return removed
	})
	conn, err := net.Dial("tcp", c.listen[leader])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	from, to := uint64(gone+1), uint64(leader+1)
	if err := writeHello(conn, hello{messageConn, from, to, "test", ""}); err != nil {
		t.Fatal(err)
	}
	if err := readAnswer(conn, to); err != nil {
		t.Fatal(err)
	}
	b, err := appendFrame(nil, uint64(consensus.Metadata), &raftpb.Message{
		Type: raftpb.MsgPreVote.Enum(), From: new(from), To: new(to), Term: new(uint64(2)), Index: new(uint64(1)), LogTerm: new(uint64(1)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, err := readNotice(conn)
	if want := (notice{noticeRemoved, uint64(consensus.Metadata), removal.ConfigIndex}); err != nil || n != want {
		t.Errorf("got %+v, %v, want %+v", n, err, want)
	}
}

func TestNotifierEnds(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _ = here.Close() }()
	n := notifier{conn: here} // nobody reads
	for group := range uint64(10) {
		n.removed(group, 7)
	}
	_ = there.Close()
	if n.written != maxNotices || len(n.next) != 1 {
		t.Errorf("%d notices written, to %d groups", n.written, len(n.next))
	}
}

func TestReadNotice(t *testing.T) {
	good := appendNotice(nil, notice{noticeRemoved, 3, 7})
	later := append(append([]byte("QRFT\x02\x00\x09\x02"), make([]byte, 8)...), "??"...)
	r := bytes.NewReader(append(bytes.Clone(later), good...))
	if n, err := readNotice(r); err != nil || n.kind != 9 {
		t.Errorf("a kind that is not known: %+v, %v", n, err)
	}
	if n, err := readNotice(r); err != nil || n != (notice{noticeRemoved, 3, 7}) {
		t.Errorf("behind it: %+v, %v", n, err)
	}
	if _, err := readNotice(r); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	short := bytes.Clone(good[:17])
	short[7] = 1
	for name, b := range map[string][]byte{"short": good[:20], "short data": short, "foreign": []byte("HTTP/1.1 410 Gone"), "nothing": nil} {
		if n, err := readNotice(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: read %+v", name, n)
		}
	}
}

func FuzzReadNotice(f *testing.F) {
	f.Add(appendNotice(nil, notice{noticeRemoved, 3, 7}))
	f.Add([]byte("QRFT\x02\x00\x09\x02????????ab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := readNotice(bytes.NewReader(b))
		if err != nil || n.kind != noticeRemoved {
			return
		}
		if again, err := readNotice(bytes.NewReader(appendNotice(nil, n))); err != nil || again != n {
			t.Errorf("%+v becomes %+v, %v", n, again, err)
		}
	})
}
