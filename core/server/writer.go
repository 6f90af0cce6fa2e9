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

// writeAnswers answers what the reader has begun, in order, until the ring is closed. After
// the first failure it returns, and every answer that is left is called with a
// context that has ended, so that it lets go of what it holds.
func (c *conn) writeAnswers(ctx context.Context) {
	for x := range c.ring {
		err := c.answer(ctx, x)
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
		resp, _ := x.answer(ended) // nobody is there to hear it
		releaseResponse(resp)
		c.finish(x)
	}
}

// finish gives back what an exchange held.
func (c *conn) finish(x *exchange) {
	c.release(x)
	c.lastDone.Store(time.Now().UnixNano()) // before open: see idleSince
	c.open.Add(-1)
	c.server.metrics.inFlight.Dec()
	<-c.slots
}

// answer waits for one answer and sends it.
func (c *conn) answer(ctx context.Context, x *exchange) error {
	turn := time.Now()
	c.server.metrics.spent(x, stageResponseQueue, turn.Sub(x.begun))
	resp, err := x.answer(ctx)
	defer releaseResponse(resp)
	ready := time.Now()
	c.server.metrics.spent(x, stageWait, ready.Sub(turn))
	c.release(x) // before the send: a client that does not read must not hold it
	if err != nil {
		c.server.metrics.done(x, resultFailed)
		return fmt.Errorf("%s v%d: %w", x.api, x.header.Version, err)
	}
	if resp == nil {
		c.server.metrics.done(x, resultSilent)
		return nil
	}
	if resp.SetVersion(x.header.Version); x.unsupported {
		resp.SetVersion(0)
	}
	c.mute(x, resp) // before the send: the client may be quick
	n, err := c.send(x, resp)
	if err != nil {
		c.server.metrics.done(x, resultFailed)
		return err
	}
	c.server.metrics.spent(x, stageSend, time.Since(ready))
	c.server.metrics.done(x, resultOf(resp))
	c.server.metrics.responseBytes.WithLabelValues(x.api).Add(float64(n))
	return nil
}

// send sends one response and returns its size.
func (c *conn) send(x *exchange, resp protocol.Response) (int, error) {
	switch resp := resp.(type) {
	case *protocol.FetchResponse:
		return c.sendFetch(x, resp)
	case kmsg.Response:
		b := getBuffer(minResponse)
		defer func() { putBuffer(b) }()
		b.b = protocol.AppendResponse(b.b, x.header, resp)
		return len(b.b), c.write(b.b)
	}
	return 0, fmt.Errorf("%s was answered with a %T", x.api, resp)
}

// minResponse is the buffer that an answer begins with, in bytes.
const minResponse = 4 << 10

// write sends bytes of a response; a peer that does not read is cut off.
func (c *conn) write(p []byte) error {
	if err := c.allowWrite(len(p)); err != nil {
		return err
	}
	_, err := c.socket.Write(p)
	return c.writeError(err, len(p))
}

// allowWrite gives the peer time to take n bytes.
func (c *conn) allowWrite(n int) error {
	if err := c.socket.SetWriteDeadline(time.Now().Add(allowance(c.server.cfg.WriteTimeout, n))); err != nil {
		return classify(err)
	}
	return nil
}

func (*conn) writeError(err error, n int) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the client did not take %d bytes of a response in time", n)
	}
	return classify(err)
}

// releaseResponse lets go of the records of an answer, if it has any.
func releaseResponse(resp protocol.Response) {
	if r, ok := resp.(*protocol.FetchResponse); ok && r != nil {
		r.Release()
	}
}

// The results of a request besides the error codes that answers begin with.
const (
	resultFailed = "FAILED" // no answer could be given or sent: the connection was closed
	resultSilent = "SILENT" // no answer was wanted: acks=0
)

// resultOf returns the name of the error code of a whole response. Codes of topics
// and partitions inside are not looked at.
func resultOf(resp protocol.Response) string {
	return protocol.ErrorCode(topCode(resp)).String()
}
