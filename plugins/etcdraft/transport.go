package etcdraft

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/peertls"
)

const (
	dialTimeout  = 2 * time.Second // connection, TLS and hello
	helloTimeout = 5 * time.Second
	maxInbound   = 128 // connections
)

// transport connects this replica to the others: each dials the connections on
// which it sends.
type transport struct {
	self    uint64
	cluster string
	queue   int
	log     *slog.Logger
	tls     atomic.Pointer[consensus.PeerTLS] // nil = plaintext
	host    messageHost
	refused atomic.Int64 // unix nanoseconds of the last refusal logged

	listener net.Listener
	ctx      context.Context // ends with stop
	cancel   context.CancelFunc
	workers  sync.WaitGroup

	advertise string                           // where the others dial this replica
	peers     atomic.Pointer[map[uint64]*peer] // replaced under mu, never changed

	mu      sync.Mutex
	book    addressBook
	inbound map[net.Conn]uint64 // from whom; 0 before the hello
}

// messageHost is where the transport delivers.
type messageHost interface {
	// group returns an open group or nil.
	group(id uint64) *group
	// peerUnreachable is told of lost messages.
	peerUnreachable(peer uint64)
	// follows tells whether a peer leads a group of this replica.
	follows(peer uint64) bool
	// peerGone is told that such a peer's process has ended.
	peerGone(peer uint64)
}

func newTransport(cfg consensus.StartConfig, queue int, host messageHost, log *slog.Logger) (*transport, error) {
	t := &transport{
		self: cfg.ReplicaID, cluster: cfg.ClusterID, queue: queue, host: host, log: log,
		book: newAddressBook(), inbound: make(map[net.Conn]uint64),
	}
	t.peers.Store(new(map[uint64]*peer))
	if len(cfg.ClusterID) > maxHelloText {
		return nil, fmt.Errorf("%w: cluster id of %d bytes", consensus.ErrInvalidArgument, len(cfg.ClusterID))
	}
	if cfg.Peer.TLS != nil {
		if _, err := peertls.Server(cfg.Peer.TLS); err != nil {
			return nil, fmt.Errorf("%w: %w", consensus.ErrInvalidArgument, err)
		}
		t.tls.Store(cfg.Peer.TLS)
	}
	listener, err := net.Listen("tcp", cfg.Peer.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for peers: %w", err)
	}
	t.listener, t.advertise = listener, cfg.Peer.Advertise
	if t.advertise == "" {
		t.advertise = listener.Addr().String()
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

func (t *transport) start() { t.workers.Go(t.accept) }

func (t *transport) unreachable(peer uint64) { t.host.peerUnreachable(peer) }

// peer returns the peer with this id, nil if there is none.
func (t *transport) peer(id uint64) *peer { return (*t.peers.Load())[id] }

// accept takes connections until the listener is closed.
func (t *transport) accept() {
	for {
		conn, err := t.listener.Accept()
		if t.ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil {
			t.log.Warn("accept peer connection", "error", err)
			pause(t.ctx, 50*time.Millisecond)
			continue
		}
		if !t.admit(conn) {
			_ = conn.Close()
			continue
		}
		t.workers.Go(func() { t.serve(conn) })
	}
}

func (t *transport) admit(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.inbound) >= maxInbound || t.ctx.Err() != nil {
		return false
	}
	t.inbound[conn] = consensus.NoLeader
	return true
}

// serve owns one inbound connection.
func (t *transport) serve(conn net.Conn) {
	defer func() {
		t.mu.Lock()
		delete(t.inbound, conn)
		t.mu.Unlock()
		_ = conn.Close()
	}()
	h, secured, err := t.receiveHello(conn)
	if err != nil {
		t.logRefusal(conn, err)
		return
	}
	if err := secured.SetDeadline(time.Time{}); err != nil {
		return
	}
	if h.kind == snapshotConn {
		t.serveSnapshot(secured, h.from)
		return
	}
	t.replace(conn, h.from)
	t.welcome(h.from, h.address, conn)
	err = t.receive(secured, h.from)
	t.farewell(h.from, conn)
	if t.ctx.Err() == nil {
		t.log.Debug("peer connection ended", "peer", h.from, "error", err)
		t.suspect(h.from, conn)
	}
}

// replace makes conn the one message connection of a peer: an older one is of a
// life that the peer has left behind.
func (t *transport) replace(conn net.Conn, from uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other, id := range t.inbound {
		if id == from {
			_ = other.Close()
		}
	}
	t.inbound[conn] = from
}

// logRefusal logs at most one refused connection a second.
func (t *transport) logRefusal(conn net.Conn, err error) {
	now, last := time.Now().UnixNano(), t.refused.Load()
	if now-last > int64(time.Second) && t.refused.CompareAndSwap(last, now) && t.ctx.Err() == nil {
		t.log.Warn("refused a peer connection", "remote", conn.RemoteAddr().String(), "error", err)
	}
}

func (t *transport) receiveHello(conn net.Conn) (hello, net.Conn, error) {
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return hello{}, nil, err
	}
	var secured *tls.Conn
	settings := t.tls.Load()
	if settings != nil {
		cfg, err := peertls.Server(settings)
		if err != nil {
			return hello{}, nil, err
		}
		secured = tls.Server(conn, cfg)
		if err := secured.HandshakeContext(t.ctx); err != nil {
			return hello{}, nil, err
		}
		conn = secured
	}
	h, err := readHello(conn)
	if err != nil {
		return hello{}, nil, err
	}
	refusal := t.checkHello(h)
	if refusal == nil && secured != nil {
		refusal = t.checkCertificate(secured, h.from, len(settings.AllowedSANs) > 0)
	}
	if err := writeAnswer(conn, t.self, refusal); err != nil {
		return hello{}, nil, err
	}
	return h, conn, refusal
}

func (t *transport) checkHello(h hello) error {
	switch {
	case h.cluster != t.cluster:
		return fmt.Errorf("replica %d is of cluster %q, this is cluster %q", h.from, h.cluster, t.cluster)
	case h.to != t.self:
		return fmt.Errorf("replica %d looks for replica %d, this is replica %d", h.from, h.to, t.self)
	case h.from == t.self || h.from == consensus.NoLeader:
		return fmt.Errorf("replica id %d is not a peer's", h.from)
	}
	return nil
}

// receive reads messages and delivers them until the connection ends. A group that does not keep up holds
// back this peer only.
func (t *transport) receive(conn net.Conn, from uint64) error {
	r := bufio.NewReaderSize(conn, 64<<10)
	var buf []byte
	notices := notifier{conn: conn}
	for {
		id, m, b, err := readFrame(r, buf)
		if err != nil {
			return err
		}
		if buf = b; cap(buf) > maxFlush {
			buf = nil
		}
		if err := checkMessage(m, from, t.self); err != nil {
			return err
		}
		if p := t.peer(from); p != nil {
			p.lastSeen.Store(time.Now().UnixNano())
		}
		if g := t.host.group(id); g != nil {
			if index, removed := g.removalOf(from); removed {
				notices.removed(id, index)
			}
			if err := g.receive(t.ctx, from, m, len(b)); err != nil {
				return err
			}
		}
	}
}

func (t *transport) serveSnapshot(conn net.Conn, from uint64) {
	c := &deadlineConn{conn, snapshotIdle}
	id, s, err := readSnapshotHead(c, from, t.self)
	if err == nil {
		if g := t.host.group(id); g != nil {
			err = g.receiveSnapshot(t.ctx, s, c)
		} else {
			err = consensus.ErrGroupNotFound
		}
	}
	if err != nil {
		t.log.Warn("receive snapshot", "peer", from, "error", err)
	}
	if err := writeAnswer(c, t.self, err); err != nil {
		t.log.Debug("answer snapshot", "peer", from, "error", err)
	}
}

// stop closes everything and waits for the goroutines.
func (t *transport) stop() {
	t.cancel()
	_ = t.listener.Close()
	t.mu.Lock()
	for conn := range t.inbound {
		_ = conn.Close()
	}
	t.mu.Unlock()
	t.workers.Wait()
}
