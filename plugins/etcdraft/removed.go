package etcdraft

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

// A replica that is removed usually learns it from its log. If the commit that
// removes it is lost on its way, nobody sends it anything any more. So whoever
// receives a message of a replica that a committed configuration has removed says
// so, on the same connection: the side that was dialled otherwise writes nothing
// behind its answer. Who does not know of notices does not read them.
//
//	notice | magic "QRFT" | version u16 | kind u8 | len u8 | group u64 | data |
//
// Of kind 1, removed, the data is the index of a committed configuration that
// lacks the replica. A kind that is not known is skipped.
const (
	noticeRemoved = 1
	noticePause   = 100 * time.Millisecond // between two of a group
	// maxNotices are written on a connection, and read. They fit into the buffers of one
	// whose other side reads nothing.
	maxNotices = 512
)

type notice struct {
	kind  uint8
	group uint64
	index uint64 // of a configuration; for noticeRemoved
}

func appendNotice(dst []byte, n notice) []byte {
	dst = binary.LittleEndian.AppendUint16(append(dst, helloMagic...), helloVersion)
	dst = append(dst, n.kind, 8)
	dst = binary.LittleEndian.AppendUint64(dst, n.group)
	return binary.LittleEndian.AppendUint64(dst, n.index)
}

func readNotice(r io.Reader) (notice, error) {
	var b [16]byte
	kind, size, err := readHelloStart(r, b[:])
	if err != nil {
		return notice{}, err
	}
	n := notice{kind: kind, group: binary.LittleEndian.Uint64(b[8:])}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return notice{}, err
	}
	if kind != noticeRemoved {
		return n, nil
	}
	if size < 8 {
		return notice{}, fmt.Errorf("%w: a removal in %d bytes", errNotPeer, size)
	}
	n.index = binary.LittleEndian.Uint64(data)
	return n, nil
}

// notifier writes notices on a connection that a peer has dialled.
type notifier struct {
	conn    net.Conn
	written int
	next    map[uint64]time.Time // by group
}

// removed tells the peer that it was removed from a group. What cannot be written
// is not worth the connection: the peer asks again.
func (n *notifier) removed(group, index uint64) {
	now := time.Now()
	if n.written == maxNotices || now.Before(n.next[group]) {
		return
	}
	if n.next == nil {
		n.next = make(map[uint64]time.Time)
	}
	n.next[group] = now.Add(noticePause)
	n.written++
	err := n.conn.SetWriteDeadline(now.Add(noticePause))
	if err == nil {
		_, err = n.conn.Write(appendNotice(nil, notice{noticeRemoved, group, index}))
	}
	if err != nil {
		n.written = maxNotices // half of one may have left
	}
}

// heed reads the notices of a peer that was dialled until the connection ends, or the
// peer has written more than it may: each one is a call of the group's loop.
func (t *transport) heed(conn net.Conn, peer uint64) {
	r := bufio.NewReaderSize(conn, 512)
	for range maxNotices {
		n, err := readNotice(r)
		if err != nil {
			if t.ctx.Err() == nil {
				t.log.Debug("no more notices of a peer", "peer", peer, "error", err)
			}
			return
		}
		if n.kind != noticeRemoved {
			continue
		}
		if g := t.host.group(n.group); g != nil {
			g.inbox.call(func() { g.learnRemoved(peer, n.index) })
		}
	}
}

// removalOf tells whether a replica was removed, and the index of a configuration
// without it. It goes by committed configurations alone, which snapshots carry on:
// a replica that was not added yet is in none of them, and an id that was removed
// never comes back.
func (g *group) removalOf(replica uint64) (index uint64, removed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.history.current()
	if c.has(replica) || !slices.Contains(c.Removed, replica) {
		return 0, false
	}
	return c.Index, true
}

// learnRemoved takes a peer's word that the configuration at index lacks this
// replica. One that has come as far itself knows better.
func (g *group) learnRemoved(peer, index uint64) {
	if index <= g.currentConfig().Index || index > maxIndex || g.expelled() {
		return
	}
	g.removedIn = index
	g.log.Warn("a peer says that this replica was removed", "peer", peer, "index", index)
}

// expelled tells whether this replica was removed by a configuration that its own
// log does not reach.
func (g *group) expelled() bool { return g.removedIn != 0 && g.removedIn > g.currentConfig().Index }

// keepQuiet withholds time from an expelled replica, so that it stands in no
// election, and lets it follow nobody. It still gives its vote: of two, the one that
// stays may need it to learn that it is alone. A leader is deposed first, by the
// answers that it does not get.
func (g *group) keepQuiet() bool {
	if !g.expelled() {
		return false
	}
	status := g.node.BasicStatus()
	if status.RaftState == raft.StateLeader {
		return false
	}
	g.candidacy = candidacy{}
	if status.RaftState == raft.StateFollower && status.Lead != raft.None {
		if err := g.node.ForgetLeader(); err != nil {
			g.log.Warn("forget the leader", "error", err)
		}
	}
	return true
}

// tempts tells whether m could make an expelled replica stand or win.
func (g *group) tempts(m *raftpb.Message, status raft.BasicStatus) bool {
	switch m.GetType() {
	case raftpb.MsgTimeoutNow, raftpb.MsgVoteResp, raftpb.MsgPreVoteResp:
		return status.RaftState != raft.StateLeader && g.expelled()
	}
	return false
}

// knock lets a learner without a leader show itself to the members, which then can
// say that it was removed: unlike a voter it stands in no election, and so would
// send nothing ever. The message is one that a leader takes for a sign of life.
func (g *group) knock(now time.Time) {
	if now.Before(g.knockAt) {
		return
	}
	g.knockAt = now.Add(2 * g.timing.election)
	if g.durable == 0 || g.passiveRole() != consensus.Learner {
		return
	}
	for _, m := range g.currentConfig().Members {
		if m.ReplicaID != g.self {
			g.send(&raftpb.Message{
				Type: raftpb.MsgHeartbeatResp.Enum(), From: new(g.self), To: new(m.ReplicaID), Term: new(g.durable),
			})
		}
	}
}

// heard puts knocking off when a leader has sent m.
func (g *group) heard(m *raftpb.Message, now time.Time) {
	if t := m.GetType(); t == raftpb.MsgApp || t == raftpb.MsgHeartbeat {
		g.knockAt = now.Add(2 * g.timing.election)
	}
}
