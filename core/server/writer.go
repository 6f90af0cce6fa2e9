package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// keepBuffer is how large a buffer for responses may be and be kept for the next one.
const keepBuffer = 256 << 10

// write answers what the reader has begun, in order, until the ring is closed. After
// the first failure it returns, and every answer that is left is called with a
// context that has ended, so that it lets go of what it holds.
func (c *conn) write(ctx context.Context) {
	var buffer []byte
	for x := range c.ring {
		var err error
		buffer, err = c.answer(ctx, x, buffer)
		c.finish(x)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, errPeerGone) {
				c.complain(x.header.ClientID, err)
			}
			c.abandon(ctx)
			return
		}
	}
}

// abandon makes the reader stop and disposes of the answers that will not be sent.
func (c *conn) abandon(ctx context.Context) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	closeSocket(c.socket)
	for x := range c.ring {
		_, _ = x.answer(ended) // nobody is there to hear it
		c.finish(x)
	}
}

// finish gives back what an exchange held.
func (c *conn) finish(x *exchange) {
	c.release(x)
	c.lastDone.Store(time.Now().UnixNano()) // before open: see idleSince
	c.open.Add(-1)
	<-c.slots
}

// answer waits for one answer and sends it. It returns the buffer for the next one.
func (c *conn) answer(ctx context.Context, x *exchange, buffer []byte) ([]byte, error) {
	resp, err := x.answer(ctx)
	c.release(x) // before the send: a client that does not read must not hold it
	if err != nil {
		c.server.metrics.done(x, resultFailed)
		return nil, fmt.Errorf("%s v%d: %w", x.api, x.header.Version, err)
	}
	if resp == nil {
		c.server.metrics.done(x, resultSilent)
		return buffer, nil
	}
	if resp.SetVersion(x.header.Version); x.unsupported {
		resp.SetVersion(0)
	}
	buffer = protocol.AppendResponse(buffer[:0], x.header, resp)
	if err := c.send(buffer); err != nil {
		c.server.metrics.done(x, resultFailed)
		return nil, err
	}
	c.server.metrics.done(x, resultOf(resp))
	c.server.metrics.responseBytes.WithLabelValues(x.api).Add(float64(len(buffer)))
	if cap(buffer) > keepBuffer {
		buffer = nil
	}
	return buffer, nil
}

// send writes one response; a peer that does not read is cut off.
func (c *conn) send(frame []byte) error {
	if err := c.socket.SetWriteDeadline(time.Now().Add(allowance(c.server.cfg.WriteTimeout, len(frame)))); err != nil {
		return classify(err)
	}
	_, err := c.socket.Write(frame)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the client did not take a response of %d bytes in time", len(frame))
	}
	if err != nil {
		return classify(err)
	}
	return nil
}

// The results of a request besides the error codes that answers begin with.
const (
	resultFailed = "FAILED" // no answer could be given or sent: the connection was closed
	resultSilent = "SILENT" // no answer was wanted: acks=0
)

// resultOf returns the name of the error code of a whole response. Codes of topics
// and partitions inside are not looked at.
func resultOf(resp kmsg.Response) string {
	return protocol.ErrorCode(topCode(resp)).String()
}
