package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// slowestRate is how fast a peer must send or take a large message, in bytes per
// second, after the time that any message has.
const slowestRate = 256 << 10

// reserveFirst is the size from which a request takes its share of the memory budget
// before it is read. A smaller one is read first: so a peer cannot hold memory that
// others wait for by announcing a request and sending it slowly.
const reserveFirst = 64 << 10

var (
	errIdle    = errors.New("no request for too long")
	errTooSlow = errors.New("the request did not arrive in time")
)

// read begins requests until the connection ends, and returns why it does. answers
// ends when the writer has given up.
func (c *conn) read(ctx, answers context.Context) error {
	for {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-answers.Done():
			return errPeerGone
		}
		x, err := c.next(ctx)
		if err != nil {
			return err
		}
		c.open.Add(1)
		c.ring <- x // never blocks: a slot is held
	}
}

// next reads one request and begins it.
func (c *conn) next(ctx context.Context) (*exchange, error) {
	if err := c.awaitRequest(ctx); err != nil {
		return nil, err
	}
	x := &exchange{}
	frame, err := protocol.ReadRequestFrame(c.in, func(key, version int16, size int) error {
		return c.admit(ctx, x, key, version, size)
	})
	if err == nil && x.weight == 0 {
		err = c.reserve(ctx, x, protocol.RequestWeight(x.header.Key, len(frame)))
	}
	if err == nil {
		err = c.begin(ctx, x, frame)
	}
	if err != nil {
		c.release(x)
		return nil, classify(err)
	}
	return x, nil
}

// awaitRequest waits for the first byte of a request. A connection that waits for
// answers is not idle, and neither is one that got one a moment ago.
func (c *conn) awaitRequest(ctx context.Context) error {
	begun := time.Now()
	for {
		var deadline time.Time
		if c.session.Kind == Client {
			deadline = c.idleSince(begun).Add(c.server.cfg.IdleTimeout)
		}
		if err := c.setReadDeadline(ctx, deadline); err != nil {
			return err
		}
		_, err := c.in.Peek(1)
		switch {
		case err == nil:
			return c.setReadDeadline(ctx, time.Now().Add(c.server.cfg.ReadTimeout))
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return classify(err)
		case !time.Now().Before(c.idleSince(begun).Add(c.server.cfg.IdleTimeout)):
			return errIdle
		}
	}
}

// idleSince returns when the connection was last busy: now, if an answer is to come,
// else when the latest was done, or at begun if that is later.
func (c *conn) idleSince(begun time.Time) time.Time {
	if c.open.Load() > 0 {
		return time.Now()
	}
	if last := time.Unix(0, c.lastDone.Load()); last.After(begun) {
		return last
	}
	return begun
}

// setReadDeadline sets a deadline and makes sure that it does not undo the
// interruption when ctx ends.
func (c *conn) setReadDeadline(ctx context.Context, t time.Time) error {
	if err := c.socket.SetReadDeadline(t); err != nil {
		return classify(err)
	}
	return ctx.Err()
}

// admit judges a request by its first bytes, before anything is allocated for it.
func (c *conn) admit(ctx context.Context, x *exchange, key, version int16, size int) error {
	x.header.Key = key
	low, high, ok := c.server.handler.Versions(c.session.Kind, key)
	if !ok {
		return fmt.Errorf("unsupported request key %d version %d on a %s listener", key, version, c.session.Kind)
	}
	if x.unsupported = version < low || version > high; x.unsupported && key != protocol.KeyAPIVersions {
		return fmt.Errorf("unsupported %s version %d, versions %d to %d are", kmsg.NameForKey(key), version, low, high)
	}
	limit := c.server.cfg.MaxSmallRequestBytes
	if key == protocol.KeyProduce {
		limit = c.server.cfg.MaxRequestBytes
	}
	if size > limit {
		return fmt.Errorf("%s request of %d bytes, %d are allowed", kmsg.NameForKey(key), size, limit)
	}
	if size <= reserveFirst {
		return nil
	}
	if err := c.reserve(ctx, x, protocol.RequestWeight(key, size)); err != nil {
		return err
	}
	return c.setReadDeadline(ctx, time.Now().Add(allowance(c.server.cfg.ReadTimeout, size)))
}

// reserve takes a request's share of the memory budget and waits for it if it must.
// A request heavier than the whole budget takes it all and is alone.
func (c *conn) reserve(ctx context.Context, x *exchange, weight int64) error {
	weight = min(weight, c.server.cfg.RequestMemory)
	if err := c.server.memory[c.session.Kind].Acquire(ctx, weight); err != nil {
		return err
	}
	x.weight = weight
	return nil
}

// release gives back what reserve took.
func (c *conn) release(x *exchange) {
	c.server.memory[c.session.Kind].Release(x.weight)
	x.weight = 0
}

// begin decodes a request and hands it to the handler.
func (c *conn) begin(ctx context.Context, x *exchange, frame []byte) error {
	x.arrived = time.Now()
	header, body, err := protocol.ParseHeader(frame)
	if err != nil {
		return err
	}
	req := &Request{Header: header, Unsupported: x.unsupported}
	if x.unsupported {
		req.Body = &kmsg.ApiVersionsRequest{}
	} else if req.Body, err = protocol.ParseRequest(header, body); err != nil {
		return err
	}
	x.header = header
	x.api = kmsg.NameForKey(header.Key)
	c.server.metrics.requestBytes.WithLabelValues(x.api).Add(float64(len(frame)))
	c.introduce(header, req.Body)
	x.answer = c.server.handler.Begin(ctx, c.session, req)
	return nil
}

// introduce keeps what the client says about itself.
func (c *conn) introduce(h protocol.RequestHeader, body kmsg.Request) {
	c.session.ClientID = ""
	if h.ClientID != nil {
		c.session.ClientID = *h.ClientID
	}
	if v, ok := body.(*kmsg.ApiVersionsRequest); ok && v.Version >= 3 {
		c.session.SoftwareName, c.session.SoftwareVersion = v.ClientSoftwareName, v.ClientSoftwareVersion
	}
}

// allowance is the time that a message of size bytes has.
func allowance(base time.Duration, size int) time.Duration {
	return base + time.Duration(size)*time.Second/slowestRate
}

// classify turns the ways in which a socket says that the peer is gone into one.
func classify(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTooSlow
	case gone(err):
		return errPeerGone
	default:
		return err
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
