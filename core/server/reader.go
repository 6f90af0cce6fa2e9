package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// slowestRate is how fast a peer must send or take a large message, in bytes per
// second, after the time that any message has.
const slowestRate = 256 << 10

// recordsStep and stepTime are how fast records must arrive once memory is held for
// them: so many bytes within each such time.
const (
	recordsStep = 64 << 10
	stepTime    = 2 * time.Second
)

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
		c.server.metrics.inFlight.Inc()
		c.ring <- x // never blocks: a slot is held
	}
}

// next reads one request and begins it.
func (c *conn) next(ctx context.Context) (*exchange, error) {
	if err := c.awaitRequest(ctx); err != nil {
		return nil, err
	}
	if err := c.awaitUnmuted(ctx); err != nil {
		return nil, err
	}
	x := &exchange{seen: time.Now()}
	if err := c.take(ctx, x); err != nil {
		c.giveUp(ctx, x)
		return nil, classify(err)
	}
	return x, nil
}

// take reads a request into x and begins it.
func (c *conn) take(ctx context.Context, x *exchange) error {
	key, version, size, err := protocol.ReadRequestHead(c.in)
	if err != nil {
		return err
	}
	if err := c.admit(x, key, version, size); err != nil {
		return err
	}
	switch key {
	case protocol.KeyProduce:
		return c.takeProduce(ctx, x, version, size)
	case protocol.KeyFetch:
		return c.takeFetch(ctx, x, version, size)
	}
	return c.takeOther(ctx, x, version, size)
}

// giveUp undoes what was taken for a request that did not come whole. What was begun
// of it is told, as every Answer is.
func (c *conn) giveUp(ctx context.Context, x *exchange) {
	c.release(x)
	if x.answer == nil {
		return
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	resp, _ := x.answer(ended) // nobody is there to hear it
	releaseResponse(resp)
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
		err := c.awaitByte(ctx, deadline)
		switch {
		case err == nil:
			return c.setReadDeadline(ctx, time.Now().Add(c.server.cfg.ReadTimeout))
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return classify(err)
		case c.session.Kind == Client && !time.Now().Before(c.idleSince(begun).Add(c.server.cfg.IdleTimeout)):
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
func (c *conn) admit(x *exchange, key, version int16, size int) error {
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
	return nil
}

// takeProduce hands a request to the handler while it arrives. No more than the
// records of one partition are in memory.
func (c *conn) takeProduce(ctx context.Context, x *exchange, version int16, size int) error {
	header, left, err := protocol.StreamHeader(c.in, protocol.KeyProduce, version, size)
	if err != nil {
		return err
	}
	if err := c.allow(ctx, size); err != nil {
		return err
	}
	req, err := protocol.StreamProduce(version, c.in, left, func(n int) ([]byte, error) { return c.readRecords(ctx, x, n, size) })
	if err != nil {
		return err
	}
	c.begin(ctx, x, &Request{Header: header, Produce: req}, size)
	err = req.Finish()
	x.records.give()
	return err
}

// readRecords reads the records of one partition of a request that has size bytes.
//
// It takes memory once as much has arrived as the connection's own buffer holds: a
// peer must send something to hold something, and go on sending to keep it.
func (c *conn) readRecords(ctx context.Context, x *exchange, n, size int) ([]byte, error) {
	m := c.server.memory[c.session.Kind]
	x.records.give() // those of the partition before
	if _, err := c.in.Peek(min(n, c.in.Size())); err != nil {
		return nil, err
	}
	if err := m.takeRecords(ctx, &x.records, n); err != nil {
		return nil, err
	}
	p := x.records.buffer.b[:n:n]
	for at := 0; at < n; at += recordsStep {
		if err := c.setReadDeadline(ctx, time.Now().Add(min(stepTime, c.server.cfg.ReadTimeout))); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c.in, p[at:min(n, at+recordsStep)]); err != nil {
			return nil, err
		}
	}
	return p, c.allow(ctx, size)
}

// takeFetch decodes a request as it arrives.
func (c *conn) takeFetch(ctx context.Context, x *exchange, version int16, size int) error {
	header, left, err := protocol.StreamHeader(c.in, protocol.KeyFetch, version, size)
	if err != nil {
		return err
	}
	if size > reserveFirst {
		if err := c.reserve(ctx, x, int64(protocol.FetchWeight(left)), size); err != nil {
			return err
		}
	}
	req, err := protocol.StreamFetch(version, c.in, left)
	if err != nil {
		return err
	}
	if err := c.settle(ctx, x, int64(req.Memory())); err != nil {
		return err
	}
	c.begin(ctx, x, &Request{Header: header, Fetch: req}, size)
	return nil
}

// takeOther reads a whole request and lets kmsg decode it.
func (c *conn) takeOther(ctx context.Context, x *exchange, version int16, size int) error {
	if size > reserveFirst {
		if err := c.reserve(ctx, x, protocol.RequestWeight(x.header.Key, size), size); err != nil {
			return err
		}
	}
	frame, err := protocol.ReadRequestRest(c.in, x.header.Key, version, size)
	if err != nil {
		return err
	}
	header, body, err := protocol.ParseHeader(frame)
	if err != nil {
		return err
	}
	req := &Request{Header: header, Unsupported: x.unsupported, Body: &kmsg.ApiVersionsRequest{}}
	if x.weight == 0 {
		if err := c.reserve(ctx, x, protocol.RequestWeight(header.Key, size), size); err != nil {
			return err
		}
	}
	memory := 0
	if !x.unsupported {
		if req.Body, memory, err = protocol.ParseRequestSize(header, body); err != nil {
			return err
		}
	}
	if err := c.settle(ctx, x, int64(memory+size)); err != nil {
		return err
	}
	c.begin(ctx, x, req, size)
	return nil
}

// reserve takes what a request of size bytes may weigh, waits for it if it must, and
// then gives the rest of the request its time.
func (c *conn) reserve(ctx context.Context, x *exchange, weight int64, size int) (err error) {
	if x.weight, err = c.server.memory[c.session.Kind].reserve(ctx, weight); err != nil {
		return err
	}
	return c.allow(ctx, size)
}

// settle makes what a request holds what it really weighs, now that it is decoded: a
// long poll holds it for minutes.
func (c *conn) settle(ctx context.Context, x *exchange, weight int64) (err error) {
	m := c.server.memory[c.session.Kind]
	if weight = min(weight, m.requestsMax); x.weight > weight {
		m.requests.Release(x.weight - weight)
		x.weight = weight
	}
	if x.weight == 0 {
		x.weight, err = m.reserve(ctx, weight)
	}
	return err
}

// allow gives what is left of a request of size bytes its time to arrive.
func (c *conn) allow(ctx context.Context, size int) error {
	return c.setReadDeadline(ctx, time.Now().Add(allowance(c.server.cfg.ReadTimeout, size)))
}

// release gives back what was taken for a request.
func (c *conn) release(x *exchange) {
	m := c.server.memory[c.session.Kind]
	x.records.give()
	m.requests.Release(x.weight)
	x.weight = 0
}

// begin hands a request to the handler.
func (c *conn) begin(ctx context.Context, x *exchange, req *Request, size int) {
	x.arrived = time.Now()
	x.header = req.Header
	x.api = kmsg.NameForKey(req.Header.Key)
	c.server.metrics.requestBytes.WithLabelValues(x.api).Add(float64(size))
	c.introduce(req.Header, req.Body)
	c.server.metrics.spent(x, stageRequestQueue, x.arrived.Sub(x.seen))
	x.answer = c.server.handler.Begin(ctx, c.session, req)
	x.begun = time.Now()
	c.server.metrics.spent(x, stageBegin, x.begun.Sub(x.arrived))
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
