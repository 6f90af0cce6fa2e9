package etcdraft

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// peer sends raft messages to one other replica, in order, from one goroutine,
// so that a slow replica delays neither a loop nor any other replica.
//
// It never blocks and never sends again: raft is built on a network that loses
// messages, and a message sent late is worse than one not sent.
type peer struct {
	id        uint64
	transport *transport
	queue     chan outgoing
	retired   chan struct{}            // closed when nobody knows the replica any more
	addresses atomic.Pointer[[]string] // at least one
	attempt   atomic.Uint32            // which of them is next

	dropped  atomic.Uint64
	lastSeen atomic.Int64 // unix nanoseconds of the last message from it, 0 = never
}

func newPeer(id uint64, t *transport) *peer {
	return &peer{id: id, transport: t, queue: make(chan outgoing, t.queue), retired: make(chan struct{})}
}

// nextAddress returns the address to dial. It stays the same until it fails.
func (p *peer) nextAddress() string {
	addresses := *p.addresses.Load()
	return addresses[int(p.attempt.Load())%len(addresses)]
}

func (p *peer) failedAddress(address string) {
	if address == p.nextAddress() {
		p.attempt.Add(1)
	}
}

type outgoing struct {
	group uint64
	m     *raftpb.Message
}

const (
	writeTimeout = 5 * time.Second // a peer that takes nothing for so long is as good as gone
	minBackoff   = 20 * time.Millisecond
	maxBackoff   = time.Second
	maxFlush     = 1 << 20 // bytes gathered for one write
)

// enqueue hands m to the sender. If the queue is full it is dropped, and raft is
// told through report.
func (p *peer) enqueue(group uint64, m *raftpb.Message, report func(peer uint64)) {
	select {
	case p.queue <- outgoing{group, m}:
	default:
		p.dropped.Add(1)
		report(p.id)
	}
}

// run sends until ctx ends or the peer is retired. What was queued before the
// retirement is sent if there is a connection: it tells a removed replica that it is.
func (p *peer) run(ctx context.Context) {
	s := sender{p: p, backoff: minBackoff}
	defer s.close()
	for {
		select {
		case next := <-p.queue:
			s.send(ctx, next)
			continue
		case <-p.retired:
		case <-ctx.Done():
			return
		}
		for s.conn != nil {
			select {
			case next := <-p.queue:
				s.send(ctx, next)
			default:
				return
			}
		}
		return
	}
}

// sender is the state of a peer's goroutine.
type sender struct {
	p       *peer
	conn    net.Conn // nil between two
	backoff time.Duration
	buf     []byte
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// send sends next and what else is waiting, over a new connection if need be.
func (s *sender) send(ctx context.Context, next outgoing) {
	if s.conn == nil && !s.connect(ctx) {
		return
	}
	s.buf = s.p.gather(s.buf[:0], next)
	if err := s.p.write(s.conn, s.buf); err != nil {
		s.close()
		s.p.lost(ctx, err)
	}
	if cap(s.buf) > 4*maxFlush {
		s.buf = nil
	}
}

func (s *sender) connect(ctx context.Context) bool {
	conn, err := s.p.transport.dial(ctx, s.p, messageConn)
	if err != nil {
		s.p.lost(ctx, err)
		pause(ctx, s.backoff)
		s.backoff = min(2*s.backoff, maxBackoff)
		s.p.drain() // what came meanwhile is old by now
		return false
	}
	s.conn, s.backoff = conn, minBackoff
	s.p.transport.workers.Go(func() { s.p.transport.heed(conn, s.p.id) })
	s.p.transport.log.Info("connected to peer", "peer", s.p.id, "address", conn.RemoteAddr().String())
	return true
}

// gather encodes first and what else is waiting.
func (p *peer) gather(buf []byte, first outgoing) []byte {
	next := first
	for {
		b, err := appendFrame(buf, next.group, next.m)
		if err != nil {
			p.dropped.Add(1)
			p.transport.log.Error("encode message", "peer", p.id, "type", next.m.GetType().String(), "error", err)
		}
		buf = b
		if len(buf) >= maxFlush {
			return buf
		}
		select {
		case next = <-p.queue:
		default:
			return buf
		}
	}
}

func (p *peer) write(conn net.Conn, b []byte) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(b)
	return err
}

// lost drops what is queued and tells raft: messages from before a
// reconnection would only cause probes.
func (p *peer) lost(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	p.transport.log.Debug("peer is unreachable", "peer", p.id, "error", err)
	p.drain()
	p.transport.unreachable(p.id)
}

func (p *peer) drain() {
	for {
		select {
		case <-p.queue:
			p.dropped.Add(1)
		default:
			return
		}
	}
}

// sinceContact returns how long ago the last message of the peer came, -1 for never.
func (p *peer) sinceContact() time.Duration {
	at := p.lastSeen.Load()
	if at == 0 {
		return -1
	}
	return max(time.Since(time.Unix(0, at)), 0)
}
