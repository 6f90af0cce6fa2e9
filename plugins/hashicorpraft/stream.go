package hashicorpraft

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
)

// peerProtocol is the version of the preamble, and so of all that follows it.
const peerProtocol = 3

const (
	maxPeerConns     = 256
	handshakeTimeout = 5 * time.Second
)

// streams carries the library's messages to and from peers: TLS if it was asked
// for, and then a preamble that keeps out whoever is of another cluster and says
// which replica dials, and which one it means: a replica that was replaced may listen
// where its successor should, and the library would take its answers for the
// successor's.
//
// A certificate that names a replica of this cluster is good for that one only;
// see identity.checkOwner.
//
// Handshakes are made beside the accept loop. At most maxPeerConns connections
// that were accepted are open. Who greets well is handed to the layer that the
// open group has, or sent away if there is none.
type streams struct {
	listener  net.Listener
	advertise addr
	cluster   string // its name, as certificates have it
	self      uint64
	preamble  []byte                   // without whom it is for
	identity  atomic.Pointer[identity] // nil: plaintext
	layer     atomic.Pointer[layer]    // the open group's, nil without one
	refused   atomic.Uint64
	stall     time.Duration // how long a peer may be silent within a request

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	slots   chan struct{}

	mu      sync.Mutex
	conns   map[net.Conn]bool
	inbound map[uint64]int      // how many of them greeted well, by replica
	traffic map[uint64]*traffic // by replica; NoLeader is who is not known
}

// addr is an address that may have a name for a host.
type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func listen(cfg consensus.StartConfig) (*streams, error) {
	s := &streams{
		cluster: consensus.ClusterName(cfg.ClusterID), self: cfg.ReplicaID, slots: make(chan struct{}, maxPeerConns),
		conns: map[net.Conn]bool{}, inbound: map[uint64]int{}, traffic: map[uint64]*traffic{}, stall: rpcTimeout(cfg.Timing),
	}
	sum := sha256.Sum256([]byte(cfg.ClusterID))
	s.preamble = binary.BigEndian.AppendUint64(fmt.Appendf(nil, "quohrft%d%s", peerProtocol, sum[:16]), cfg.ReplicaID)
	if cfg.Peer.TLS != nil {
		if err := s.reload(*cfg.Peer.TLS); err != nil {
			return nil, err
		}
	}
	var err error
	if s.listener, err = net.Listen("tcp", cfg.Peer.Listen); err != nil {
		return nil, fmt.Errorf("listen for peers: %w", err)
	}
	s.advertise = addr(cfg.Peer.Advertise)
	if s.advertise == "" {
		s.advertise = addr(s.listener.Addr().String())
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(s.accept)
	return s, nil
}

// Addr is what peers dial.
func (s *streams) Addr() net.Addr { return s.advertise }

// accept takes connections and hands each to its own handshake.
func (s *streams) accept() {
	for {
		conn, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			slog.Warn("a peer's connection could not be accepted", "error", err)
			select {
			case <-time.After(50 * time.Millisecond): // out of file descriptors, most likely
			case <-s.ctx.Done():
			}
			continue
		}
		select {
		case s.slots <- struct{}{}:
			s.running.Go(func() { s.welcome(conn) })
		default:
			slog.Warn("too many connections from peers", "limit", maxPeerConns, "remote", conn.RemoteAddr().String())
			_ = conn.Close() // nothing was said on it
		}
	}
}

// welcome makes the handshake and hands the connection over.
func (s *streams) welcome(raw net.Conn) {
	conn := s.track(raw)
	if err := s.greet(conn); err != nil {
		s.refused.Add(1)
		slog.Warn("a peer was refused", "remote", raw.RemoteAddr().String(), "error", err)
		_ = conn.Close() // it is refused already
		return
	}
	l := s.layer.Load()
	if l != nil {
		s.arrived(conn, l)
	}
	if l == nil || !l.take(conn) {
		_ = conn.Close() // no group is open
	}
}

// arrived counts a connection of a replica, until it is closed. When the last one
// is, the group is told, which may follow that replica.
func (s *streams) arrived(c *tracked, l *layer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inbound[c.replica]++
	forget := c.forget
	c.forget = func() {
		forget()
		s.mu.Lock()
		left := s.inbound[c.replica] - 1
		if s.inbound[c.replica] = left; left == 0 {
			delete(s.inbound, c.replica)
		}
		s.mu.Unlock()
		if left == 0 && l.lost != nil && l.ctx.Err() == nil {
			l.lost(c.replica)
		}
	}
}

// connected tells whether a replica has a connection to this one.
func (s *streams) connected(replica uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inbound[replica] > 0
}

func (s *streams) greet(c *tracked) error {
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	who := s.identity.Load()
	var secure *tls.Conn
	if who != nil {
		secure = tls.Server(c.Conn, who.server)
		if err := secure.HandshakeContext(s.ctx); err != nil {
			return err
		}
		c.Conn = secure
	}
	got := make([]byte, len(s.preamble)+8)
	if _, err := io.ReadFull(c.Conn, got); err != nil {
		return fmt.Errorf("read its preamble: %w", err)
	}
	cluster := len(s.preamble) - 8
	if subtle.ConstantTimeCompare(got[:cluster], s.preamble[:cluster]) != 1 {
		return errors.New("it is of another cluster, of a version with another peer protocol, or no peer at all")
	}
	replica, meant := binary.BigEndian.Uint64(got[cluster:]), binary.BigEndian.Uint64(got[cluster+8:])
	if meant != consensus.NoLeader && meant != s.self {
		return fmt.Errorf("replica %d means replica %d, this is %d", replica, meant, s.self)
	}
	if secure != nil {
		if err := who.checkOwner(secure.ConnectionState(), s.cluster, replica); err != nil {
			return err
		}
	}
	c.Conn, c.replica = s.count(c.Conn, replica), replica
	return c.SetDeadline(time.Time{})
}

// track remembers an accepted connection until it is closed.
func (s *streams) track(conn net.Conn) *tracked {
	t := &tracked{Conn: conn, stall: s.stall, forget: func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		<-s.slots
	}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn] = true
	if s.ctx.Err() != nil {
		_ = conn.Close() // too late; its user sees that
	}
	return t
}

// tracked is an accepted connection. Conn is replaced only before it is handed over.
//
// The library reads a snapshot off it in its main loop, with no time-out: a
// leader that is frozen in the middle of one would take this replica with it. So
// a peer that has begun a request and says nothing for as long as stall is cut
// off. Between requests it may be silent for ever.
type tracked struct {
	net.Conn
	replica uint64 // who dialled, once it has greeted
	once    sync.Once
	forget  func()
	stall   time.Duration
	asking  atomic.Bool // a request has begun, and no answer yet
	limited atomic.Bool // a read deadline is set
}

func (t *tracked) Read(p []byte) (int, error) {
	if err := t.limit(); err != nil {
		return 0, err
	}
	n, err := t.Conn.Read(p)
	if n > 0 {
		t.asking.Store(true)
	}
	return n, err
}

func (t *tracked) limit() error {
	switch {
	case t.asking.Load():
		t.limited.Store(true)
		return t.SetReadDeadline(time.Now().Add(t.stall))
	case t.limited.Swap(false):
		return t.SetReadDeadline(time.Time{})
	}
	return nil
}

func (t *tracked) Write(p []byte) (int, error) {
	t.asking.Store(false)
	return t.Conn.Write(p)
}

func (t *tracked) Close() error {
	t.once.Do(t.forget)
	return t.Conn.Close()
}

// Close stops listening, ends every accepted connection, and waits for what
// runs. It may be called more than once.
func (s *streams) Close() error {
	s.cancel()
	if l := s.layer.Load(); l != nil {
		l.cut()
	}
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // its user sees that it is closed
	}
	s.mu.Unlock()
	s.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
