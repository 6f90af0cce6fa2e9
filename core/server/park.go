package server

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// awaitByte waits until the next byte is in the input buffer; a zero deadline never
// comes. When nothing comes for Config.ParkAfter it does so without a buffer, so that
// thousands of idle connections hold none.
func (c *conn) awaitByte(ctx context.Context, deadline time.Time) error {
	raw := c.parkable()
	if c.in == nil {
		c.takeReader()
	}
	first := deadline
	if soon := time.Now().Add(c.server.cfg.ParkAfter); raw != nil && (deadline.IsZero() || soon.Before(deadline)) {
		first = soon
	}
	if err := c.setReadDeadline(ctx, first); err != nil {
		return err
	}
	_, err := c.in.Peek(1)
	if err == nil || first.Equal(deadline) || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	c.dropReader()
	if err := c.setReadDeadline(ctx, deadline); err != nil {
		return err
	}
	if err := awaitReadable(raw); err != nil {
		return err
	}
	c.takeReader()
	_, err = c.in.Peek(1)
	return err
}

// parkable returns the socket if it can be waited for without reading from it, else
// nil: TLS may have read ahead.
func (c *conn) parkable() *net.TCPConn {
	tcp, _ := c.socket.(*net.TCPConn)
	return tcp
}

func (c *conn) takeReader() {
	c.in = readers.Get().(*bufio.Reader) //nolint:errcheck // the pool holds nothing else
	c.in.Reset(c.socket)
}

func (c *conn) dropReader() {
	if c.in != nil {
		c.in.Reset(nil)
		readers.Put(c.in)
		c.in = nil
	}
}

// awaitReadable waits, within the read deadline, until there is something to read or
// the peer has hung up.
func awaitReadable(tcp *net.TCPConn) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		for {
			var one [1]byte
			_, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
}
