package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/protocol"
)

// conn is one connection. serve runs its reader; a second goroutine is the writer.
type conn struct {
	listener *listener
	server   *Server
	socket   net.Conn
	in       *bufio.Reader // nil while the connection is parked
	session  *Session

	// slots bounds the requests between being read and being answered; ring carries
	// them from the reader to the writer and has room for as many.
	slots chan struct{}
	ring  chan *exchange
	// open counts the exchanges in the ring, the one that is being answered included.
	open atomic.Int32
	// lastDone is when the latest left it, in Unix nanoseconds.
	lastDone atomic.Int64
	// mutedUntil is when requests are read again, in Unix nanoseconds.
	mutedUntil atomic.Int64
}

// exchange is a request that was begun and its answer to be.
type exchange struct {
	header      protocol.RequestHeader
	unsupported bool
	answer      Answer
	weight      int64 // of the memory for requests, given back when it is over
	records     held  // of a Produce request that is being read
	api         string
	seen        time.Time // when its first byte was there
	arrived     time.Time // when it was begun
	begun       time.Time // when that was over
}

func newConn(l *listener, socket net.Conn, remote netip.AddrPort) *conn {
	s := l.server
	return &conn{
		listener: l,
		server:   s,
		socket:   socket,
		session:  &Session{ID: s.lastID.Add(1), Listener: l.cfg.Name, Kind: l.cfg.Kind, Remote: remote},
		slots:    make(chan struct{}, s.cfg.MaxInflight),
		ring:     make(chan *exchange, s.cfg.MaxInflight),
	}
}

// errPeerGone means that nobody is there to read what answers are still to come.
var errPeerGone = errors.New("the peer hung up")

// serve owns the connection from the handshake to the close.
func (c *conn) serve(ctx context.Context) {
	defer closeSocket(c.socket)
	if !c.penalty(ctx) {
		return
	}
	if err := c.handshake(ctx); err != nil {
		c.complain(nil, fmt.Errorf("TLS handshake failed: %w", err))
		return
	}
	defer c.dropReader()

	// answers is what the answers wait with: it outlives ctx by DrainTimeout.
	answers, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer closeSocket(c.socket) // wakes the reader
		defer cancel()
		c.writeAnswers(answers)
	})

	// The reader sits in a read; a deadline in the past gets it out when ctx ends.
	stop := context.AfterFunc(ctx, c.interruptRead)
	defer stop()
	err := c.read(ctx, answers)
	c.report(ctx, err) // before the writer closes the socket
	close(c.ring)
	c.drain(&wg, errors.Is(err, errPeerGone), cancel)
}

// drain waits for the writer. Answers that were begun have DrainTimeout to come, and
// as long again to be sent, unless the peer is gone.
func (c *conn) drain(wg *sync.WaitGroup, gone bool, cancel func()) {
	patience := c.server.cfg.DrainTimeout
	if gone {
		patience = 0
	}
	defer time.AfterFunc(patience, cancel).Stop()
	defer time.AfterFunc(2*patience, func() { closeSocket(c.socket) }).Stop()
	wg.Wait()
}

// interruptRead makes the current and every later read fail.
func (c *conn) interruptRead() {
	if err := c.socket.SetReadDeadline(time.Unix(1, 0)); err != nil {
		closeSocket(c.socket)
	}
}

// report logs why a connection ends, if it is worth a line.
func (c *conn) report(ctx context.Context, err error) {
	if errors.Is(err, errPeerGone) || errors.Is(err, errIdle) || ctx.Err() != nil {
		return
	}
	if c.session.Kind == Client {
		c.server.addresses.violated(c.session.Remote.Addr(), time.Now())
	}
	c.complain(&c.session.ClientID, err)
}

// penalty waits as long as the address has to that broke the protocol; it is false if
// ctx ended first.
func (c *conn) penalty(ctx context.Context) bool {
	if c.session.Kind != Client {
		return ctx.Err() == nil
	}
	wait := c.server.addresses.penalty(c.session.Remote.Addr(), time.Now())
	if wait > 0 {
		c.server.metrics.penalties.WithLabelValues(c.listener.cfg.Name).Add(wait.Seconds())
	}
	return sleep(ctx, wait)
}

// complain logs why a connection is closed on a peer. A peer that earns it again and
// again gets a line now and then.
func (c *conn) complain(clientID *string, err error) {
	log, ok := c.server.quiet.allow("closed on " + c.session.Remote.Addr().String())
	if !ok {
		return
	}
	if clientID != nil && *clientID != "" {
		log = log.With("client_id", *clientID)
	}
	log.Warn("connection closed", "listener", c.session.Listener, "remote", c.session.Remote, "error", err)
}

// handshake does the TLS handshake, if the listener has one, and learns who it is.
func (c *conn) handshake(ctx context.Context) error {
	cfg := c.listener.cfg.TLS
	if cfg == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.server.cfg.HandshakeTimeout)
	defer cancel()
	secure := tls.Server(c.socket, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	if state := secure.ConnectionState(); len(state.VerifiedChains) > 0 {
		c.session.Principal = state.PeerCertificates[0].Subject.String()
	}
	c.socket = secure
	return nil
}

// gone says whether err is the end of a connection that nobody broke.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || isReset(err)
}
