package hashicorpraft

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// layer is the streams as one opening of the group has them. The library closes
// it with its transport; the listener stays, for the group's next opening.
//
// The library never ends the connections that it has in use, and waits for what
// it has asked of a peer until that times out: several seconds when the peer is
// frozen. So a stop cuts all of them if it must.
type layer struct {
	*streams
	owner    func(raft.ServerAddress) uint64
	lost     func(replica uint64) // its last connection has ended; must not wait. May be nil
	accepted chan net.Conn
	ctx      context.Context // ends with cut
	cancel   context.CancelFunc
	closing  sync.Once
	closed   chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]struct{} // accepted and dialled, and not closed
}

var _ raft.StreamLayer = (*layer)(nil)

// open gives the streams to a group. owner tells who is at an address, lost is told
// of replicas that have no connection any more.
func (s *streams) open(owner func(raft.ServerAddress) uint64, lost func(replica uint64)) *layer {
	l := &layer{streams: s, owner: owner, lost: lost, accepted: make(chan net.Conn), closed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	s.layer.Store(l)
	return l
}

// take hands an accepted connection to the library; false if that is gone.
func (l *layer) take(conn net.Conn) bool {
	held := l.hold(conn)
	select {
	case l.accepted <- held:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// Accept implements net.Listener for the library.
func (l *layer) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (l *layer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(l.ctx, timeout)
	defer cancel()
	replica := consensus.NoLeader
	if l.owner != nil {
		replica = l.owner(address)
	}
	conn, err := l.dial(ctx, string(address), replica)
	if err != nil {
		return nil, err
	}
	return l.hold(conn), nil
}

// Close implements net.Listener: it ends this layer and what goes over it.
func (l *layer) Close() error {
	l.cut()
	l.closing.Do(func() { close(l.closed) })
	l.layer.CompareAndSwap(l, nil)
	return nil
}

// cut ends every connection, and there will be none any more. Accept waits on:
// the library would take its end for a fault.
func (l *layer) cut() {
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Close() // its user sees that it is closed
	}
}

// hold remembers conn until it is closed.
func (l *layer) hold(conn net.Conn) *held {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[conn] = struct{}{}
	if l.ctx.Err() != nil {
		_ = conn.Close() // too late; its user sees that
	}
	return &held{Conn: conn, layer: l}
}

type held struct {
	net.Conn
	layer *layer
}

// Close closes the connection; it may be closed already.
func (h *held) Close() error {
	h.layer.mu.Lock()
	delete(h.layer.conns, h.Conn)
	h.layer.mu.Unlock()
	return h.Conn.Close()
}

// dial connects to address, where replica should be, and says who dials whom.
func (s *streams) dial(ctx context.Context, address string, replica uint64) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if who := s.identity.Load(); who != nil {
		conn, err = who.secure(ctx, conn, address, s.cluster, replica)
		if err != nil {
			return nil, err
		}
	}
	conn = s.count(conn, replica)
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	if err == nil {
		_, err = conn.Write(binary.BigEndian.AppendUint64(slices.Clone(s.preamble), replica))
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
