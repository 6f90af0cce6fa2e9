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
	address   atomic.Pointer[string]

	dropped  atomic.Uint64
	lastSeen atomic.Int64 // unix nanoseconds of the last message from it, 0 = never
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

// run sends until ctx ends.
func (p *peer) run(ctx context.Context) {
	var conn net.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	backoff := minBackoff
	var buf []byte
	for {
		var next outgoing
		select {
		case next = <-p.queue:
		case <-ctx.Done():
			return
		}
		if conn == nil {
			var err error
			if conn, err = p.transport.dial(ctx, p, messageConn); err != nil {
				conn = nil
				p.lost(ctx, err)
				pause(ctx, backoff)
				backoff = min(2*backoff, maxBackoff)
				p.drain() // what came meanwhile is old by now
				continue
			}
			backoff = minBackoff
			p.transport.log.Info("connected to peer", "peer", p.id, "address", *p.address.Load())
		}
		buf = p.gather(buf[:0], next)
		if err := p.write(conn, buf); err != nil {
			_ = conn.Close()
			conn = nil
			p.lost(ctx, err)
		}
		if cap(buf) > 4*maxFlush {
			buf = nil
		}
	}
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
