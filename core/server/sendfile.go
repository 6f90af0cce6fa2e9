package server

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/quorate/quorate/protocol"
)

// sendfileFrom is the size of records from which the kernel sends them out of their
// file, in bytes. For less, putting them behind what comes before is cheaper than a
// system call of their own.
const sendfileFrom = 32 << 10

// sendfileChunk bounds what one deadline is for, in bytes.
const sendfileChunk = 1 << 20

// inFile is records that lie in a file.
type inFile interface {
	// File returns the file and where in it they begin; ok is false if the kernel cannot
	// read from it. The file's own position is neither used nor moved.
	File() (file syscall.Conn, at int64, ok bool)
}

// sendable returns where records lie if the kernel can send them from there: not
// through TLS, and not if there are few.
func (c *conn) sendable(r protocol.Records) (socket *net.TCPConn, file syscall.Conn, at int64, ok bool) {
	if r.Size() < sendfileFrom {
		return nil, nil, 0, false
	}
	if socket, ok = c.socket.(*net.TCPConn); !ok {
		return nil, nil, 0, false
	}
	f, ok := r.(inFile)
	if !ok {
		return nil, nil, 0, false
	}
	file, at, ok = f.File()
	return socket, file, at, ok
}

// sendFile sends size bytes of a file from position at on. It returns how many went:
// less than size is an error, and the end of the connection.
func (c *conn) sendFile(socket *net.TCPConn, file syscall.Conn, at int64, size int) (sent int, err error) {
	out, err := socket.SyscallConn()
	if err != nil {
		return 0, classify(err)
	}
	in, err := file.SyscallConn()
	if err != nil {
		return 0, err
	}
	for sent < size {
		chunk := min(size-sent, sendfileChunk)
		if err := c.allowWrite(chunk); err != nil {
			return sent, err
		}
		n, err := sendChunkOf(out, in, at+int64(sent), chunk)
		sent += n
		if err != nil {
			return sent, c.writeError(err, size)
		}
	}
	return sent, nil
}

// sendChunkOf makes one call of sendfile that sends something, and waits for room in
// the socket if it must. The file cannot be closed under its hands: that waits for Control.
func sendChunkOf(out, in syscall.RawConn, at int64, size int) (n int, err error) {
	waitErr := out.Write(func(socket uintptr) bool {
		for {
			controlErr := in.Control(func(file uintptr) {
				from := at
				n, err = unix.Sendfile(int(socket), int(file), &from, size)
			})
			n = max(n, 0)
			switch {
			case controlErr != nil:
				err = controlErr
				return true
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EAGAIN):
				return n > 0
			}
			return true
		}
	})
	switch {
	case n > 0:
		return n, nil
	case err != nil && !errors.Is(err, unix.EAGAIN):
		return 0, err
	case waitErr != nil:
		return 0, waitErr
	}
	return 0, io.ErrUnexpectedEOF // the file is shorter than what was promised
}
