package etcdraft

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

// A snapshot connection, behind the hello: head, content, answer. Integers are
// little endian.
//
//	head   | len u32 | JSON: snapshotHead |
//	answer | the answer of the hello      |
const (
	maxSnapshotHead  = 1 << 20
	snapshotIdle     = 10 * time.Second // without any progress
	snapshotStoring  = 2 * time.Minute  // from the last byte to the answer
	snapshotCooldown = time.Second      // before a failure is reported and raft tries again
)

type snapshotHead struct {
	Group   uint64       `json:"group"`
	Message []byte       `json:"message"` // raftpb.Message of type MsgSnap
	Meta    snapshotMeta `json:"meta"`
}

// transfer is a snapshot on its way to a peer.
type transfer struct {
	index   uint64
	started time.Time
}

// receivedSnapshot is a snapshot of a leader whose content is here, in a
// temporary file.
type receivedSnapshot struct {
	m    *raftpb.Message
	meta snapshotMeta
	file *tempSnapshot // nil if the content was not needed
}

func (s *receivedSnapshot) position() (term, index uint64) {
	meta := s.m.GetSnapshot().GetMetadata()
	return meta.GetTerm(), meta.GetIndex()
}

// install gives the content its name. The writer calls it before it writes the mark.
func (s *receivedSnapshot) install() error {
	term, index := s.position()
	return s.file.commit(term, index)
}

func (s *receivedSnapshot) mark() *seglog.Mark {
	term, index := s.position()
	data, err := s.meta.encode()
	if err != nil {
		panic(err) // it was made from JSON
	}
	return &seglog.Mark{Index: index, Term: term, CompactedIndex: index, CompactedTerm: term, Data: data}
}

// sendSnapshot starts to send what m names, from its own goroutine over its own
// connection. However that ends, raft is told: a peer without a report would
// stay in its snapshot state for ever. Only the loop calls it.
func (g *group) sendSnapshot(p *peer, m *raftpb.Message) {
	to, index := m.GetTo(), m.GetSnapshot().GetMetadata().GetIndex()
	if p == nil || !g.beginTransfer(to, index) {
		g.inbox.call(func() { g.node.ReportSnapshot(to, raft.SnapshotFailure) })
		return
	}
	g.workers.Go(func() {
		err := g.transferTo(g.ctx, p, m)
		if err != nil {
			g.snapshotCounts.failed.Add(1)
			g.log.Warn("send snapshot", "peer", to, "index", index, "error", err)
			pause(g.ctx, snapshotCooldown)
		} else {
			g.snapshotCounts.sent.Add(1)
			g.log.Info("sent a snapshot", "peer", to, "index", index)
		}
		g.mu.Lock()
		delete(g.transfers, to)
		g.mu.Unlock()
		g.inbox.call(func() {
			if err != nil {
				g.node.ReportSnapshot(to, raft.SnapshotFailure)
				return
			}
			g.node.ReportSnapshot(to, raft.SnapshotFinish)
		})
	})
}

// beginTransfer notes that a snapshot is on its way to a peer, one at a time.
func (g *group) beginTransfer(to, index uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, busy := g.transfers[to]; busy {
		return false
	}
	g.transfers[to] = transfer{index: index, started: time.Now()}
	return true
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (g *group) transferTo(ctx context.Context, p *peer, m *raftpb.Message) error {
	meta, content, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // it was only read
	want := m.GetSnapshot().GetMetadata()
	info, _ := g.store.log.Info(g.id)
	if meta.Index != want.GetIndex() || info.Mark.Index != meta.Index {
		return fmt.Errorf("%w: snapshot %d was replaced", consensus.ErrSnapshotStale, want.GetIndex())
	}
	head, err := newSnapshotHead(g.id, m, info.Mark.Data)
	if err != nil {
		return err
	}
	conn, err := p.transport.dial(ctx, p, snapshotConn)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }() // the answer is what counts
	out := &deadlineConn{conn, snapshotIdle}
	if _, err := out.Write(head); err != nil {
		return err
	}
	if _, err := io.Copy(out, content); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(snapshotStoring)); err != nil {
		return err
	}
	return readAnswer(conn, p.id)
}

func newSnapshotHead(group uint64, m *raftpb.Message, mark []byte) ([]byte, error) {
	meta, err := parseSnapshotMeta(mark)
	if err != nil {
		return nil, err
	}
	message, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(snapshotHead{Group: group, Message: message, Meta: meta})
	if err != nil {
		return nil, err
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head...), nil
}

// readSnapshotHead reads and checks the head that replica from sends.
func readSnapshotHead(r io.Reader, from, self uint64) (uint64, *receivedSnapshot, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > maxSnapshotHead {
		return 0, nil, fmt.Errorf("%w: snapshot head of %d bytes", errFrame, n)
	}
	b, err := readBody(r, nil, int64(n))
	if err != nil {
		return 0, nil, err
	}
	var head snapshotHead
	if err := json.Unmarshal(b, &head); err != nil {
		return 0, nil, fmt.Errorf("%w: snapshot head: %w", errFrame, err)
	}
	m := new(raftpb.Message)
	if err := proto.Unmarshal(head.Message, m); err != nil {
		return 0, nil, fmt.Errorf("%w: snapshot message: %w", errFrame, err)
	}
	if err := checkSnapshotMessage(m, from, self); err != nil {
		return 0, nil, err
	}
	if err := m.GetSnapshot().GetMetadata().GetConfState().Equivalent(head.Meta.Config.confState()); err != nil {
		return 0, nil, fmt.Errorf("snapshot with two configurations: %w", err)
	}
	return head.Group, &receivedSnapshot{m: m, meta: head.Meta}, nil
}

var errReceiving = errors.New("another snapshot of the group is being received")

// receiveSnapshot stores the content that r yields and gives it to the loop.
// Called by the transport.
func (g *group) receiveSnapshot(ctx context.Context, s *receivedSnapshot, r io.Reader) error {
	if !g.receiving.CompareAndSwap(false, true) {
		return errReceiving
	}
	defer g.receiving.Store(false)
	if _, index := s.position(); !g.needs(index) {
		g.inbox.put(func(i *inboxItems) { i.snapshots = append(i.snapshots, s) })
		return nil
	}
	file, err := g.snapshots.write(ctx, io.LimitReader(r, int64(min(s.meta.Size, maxIndex))))
	if err != nil {
		return err
	}
	if file.size != s.meta.Size || !bytes.Equal(file.sum, s.meta.SHA256) {
		return errors.Join(fmt.Errorf("%w: got %d bytes of %d", consensus.ErrSnapshotInvalid, file.size, s.meta.Size), file.remove())
	}
	s.file = file
	g.inbox.put(func(i *inboxItems) { i.snapshots = append(i.snapshots, s) })
	return nil
}

// needs tells whether a snapshot at index could be news. Raft ignores one at or
// below its commit index, without which nothing is delivered.
func (g *group) needs(index uint64) bool {
	delivered, _ := g.delivered.Get()
	return index > delivered
}

// deadlineConn fails a write that makes no progress for a while.
type deadlineConn struct {
	net.Conn
	idle time.Duration
}

func (c *deadlineConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *deadlineConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}
