package interbroker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// errNoAddress is why a broker that nobody knows cannot be dialled.
var errNoAddress = errors.New("its address is not known")

// lane is one connection to one broker: the current one, or the attempt to make it,
// or the pause after a failed attempt.
type lane struct {
	pool   *Pool
	broker int32
	log    *slog.Logger

	mu       sync.Mutex
	conn     *conn         // nil if there is none
	dialing  chan struct{} // closed when the attempt under way is over; nil if there is none
	failure  error         // of the last attempt; nil after a success
	known    []string      // the addresses that the last attempt was for
	good     string        // the address that answered last
	backoff  time.Duration // of the pause that retryAt ends
	retryAt  time.Time
	attempts int // failed ones in a row
}

// roundTrip sends req over the lane's connection. A connection that broke before it
// took the request, usually one that was idle when its broker restarted, is replaced
// once.
func (l *lane) roundTrip(ctx context.Context, req kmsg.Request, buffer []byte) ([]byte, error) {
	for again := true; ; again = false {
		c, err := l.connection(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		frame, err := c.roundTrip(ctx, req, buffer)
		if again && errors.Is(err, ErrUnreachable) && ctx.Err() == nil {
			continue
		}
		return frame, err
	}
}

// connection returns the lane's connection and makes it first if there is none. One
// attempt serves all that wait.
func (l *lane) connection(ctx context.Context) (*conn, error) {
	for {
		l.mu.Lock()
		if l.conn != nil {
			c := l.conn
			l.mu.Unlock()
			return c, nil
		}
		if err := l.dialLocked(); err != nil {
			l.mu.Unlock()
			return nil, err
		}
		dialing := l.dialing
		l.mu.Unlock()

		select {
		case <-dialing:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		l.mu.Lock()
		failure := l.failure
		l.mu.Unlock()
		if failure != nil {
			return nil, failure
		}
	}
}

// dialLocked starts an attempt unless one is under way. Within the pause after a
// failure it returns that failure, unless the broker has a new address by now.
func (l *lane) dialLocked() error {
	if l.dialing != nil {
		return nil
	}
	addresses := l.pool.resolve(l.broker)
	if len(addresses) == 0 {
		return errNoAddress
	}
	same := slices.Equal(addresses, l.known)
	if l.failure != nil && same && time.Now().Before(l.retryAt) {
		return l.failure
	}
	if !same {
		l.backoff = 0
	}
	l.known = slices.Clone(addresses)
	order := slices.Clone(addresses)
	if at := slices.Index(order, l.good); at > 0 { // the one that answered last goes first
		order = slices.Insert(slices.Delete(order, at, at+1), 0, l.good)
	}
	done := make(chan struct{})
	if !l.pool.start(func() { l.dial(order, done) }) {
		return net.ErrClosed
	}
	l.dialing = done
	return nil
}

// dial makes one attempt, at each address until one answers, and publishes its result.
func (l *lane) dial(addresses []string, done chan struct{}) {
	var (
		socket  net.Conn
		address string
		err     error
	)
	for _, address = range addresses {
		if socket, err = l.pool.dial(address); err == nil {
			break
		}
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(done)
	l.dialing = nil
	if err == nil {
		c := newConn(l, socket)
		if c.start() {
			l.conn, l.failure, l.backoff, l.attempts, l.good = c, nil, 0, 0, address
			l.log.Debug("connected to broker", "address", address)
			return
		}
		err = errors.Join(net.ErrClosed, socket.Close())
	}
	l.failure = err
	l.pauseLocked()
	if l.attempts++; l.attempts == 1 {
		l.log.Info("cannot connect to broker", "addresses", addresses, "error", err)
	}
}

// pauseLocked begins the next pause, twice as long as the last.
func (l *lane) pauseLocked() {
	cfg := l.pool.cfg
	l.backoff = min(max(2*l.backoff, cfg.BackoffMin), cfg.BackoffMax)
	l.retryAt = time.Now().Add(l.backoff)
}

// lost takes a broken connection out of the lane.
func (l *lane) lost(c *conn, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == c {
		l.conn = nil
		l.log.Debug("connection to broker lost", "error", cause)
	}
}

// hangUp closes the connection, if there is one.
func (l *lane) hangUp() {
	l.mu.Lock()
	c := l.conn
	l.mu.Unlock()
	if c != nil {
		c.close(net.ErrClosed)
	}
}

// dial connects to address, with the TLS handshake if there is one.
func (p *Pool) dial(address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.DialTimeout)
	defer cancel()
	var d net.Dialer
	socket, err := d.DialContext(ctx, "tcp", address)
	if err != nil || p.cfg.TLS == nil {
		return socket, err
	}
	cfg := p.cfg.TLS
	if p.cfg.TLSNow != nil {
		cfg = p.cfg.TLSNow.Load()
	}
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, errors.Join(err, socket.Close())
		}
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	secure := tls.Client(socket, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS handshake with %s: %w", address, err), socket.Close())
	}
	return secure, nil
}
