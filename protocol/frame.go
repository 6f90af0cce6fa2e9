package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrMalformed is wrapped by every error about bytes that are not the protocol. The
// stream that they came from has no next frame to look for: it must be closed.
var ErrMalformed = errors.New("malformed")

// readStep bounds what a frame's announced length alone makes ReadFrame allocate;
// beyond it the buffer at most doubles what has really arrived.
const readStep = 64 << 10

// requestPrefix is the part of a request that tells which one it is: key and version.
const requestPrefix = 4

// Admit decides whether a frame may be read, from its size and the key and version
// that it begins with. It may wait, to push back on the sender. An error ends
// ReadRequestFrame, which returns it unchanged.
type Admit func(key, version int16, size int) error

// ReadRequestHead reads what tells a request: its size, without the length itself but
// with the key and version that it begins with, and those two. The error is io.EOF,
// bare, if the stream ended between two frames.
func ReadRequestHead(r io.Reader) (key, version int16, size int, err error) {
	var head [4 + requestPrefix]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return 0, 0, 0, err
	}
	announced := int32(binary.BigEndian.Uint32(head[:4])) // negative is refused below
	if announced < requestPrefix {
		return 0, 0, 0, fmt.Errorf("%w: a request of %d bytes", ErrMalformed, announced)
	}
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return 0, 0, 0, midFrame(err)
	}
	key = int16(binary.BigEndian.Uint16(head[4:6]))
	version = int16(binary.BigEndian.Uint16(head[6:8]))
	return key, version, int(announced), nil
}

// ReadRequestFrame reads one request without its length: the header and the body.
//
// It asks admit once it has the first four bytes, before it allocates anything for
// the rest, and allocates in step with what arrives. The error is io.EOF, bare, if
// the stream ended between two frames.
func ReadRequestFrame(r io.Reader, admit Admit) ([]byte, error) {
	key, version, size, err := ReadRequestHead(r)
	if err != nil {
		return nil, err
	}
	if err := admit(key, version, size); err != nil {
		return nil, err
	}
	return ReadRequestRest(r, key, version, size)
}

// ReadRequestRest reads the rest of a request and returns the frame as
// ReadRequestFrame does.
func ReadRequestRest(r io.Reader, key, version int16, size int) ([]byte, error) {
	var begun [requestPrefix]byte
	binary.BigEndian.PutUint16(begun[:], uint16(key))
	binary.BigEndian.PutUint16(begun[2:], uint16(version))
	return readRest(r, begun[:], size)
}

// ReadResponseFrame reads one response without its length: the header and the body.
// It refuses more than limit bytes.
func ReadResponseFrame(r io.Reader, limit int) ([]byte, error) {
	size, id, err := ReadResponseHead(r, limit)
	if err != nil {
		return nil, err
	}
	return ReadResponseRest(r, id, size, nil)
}

// ReadResponseHead reads the beginning of a response: its size without the length
// itself, at most limit, and the correlation id, which is the first part of it.
func ReadResponseHead(r io.Reader, limit int) (size int, correlationID int32, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return 0, 0, err
	}
	n := int32(binary.BigEndian.Uint32(head[:])) // negative is refused below
	if n < 4 || int(n) > limit {
		return 0, 0, fmt.Errorf("%w: a response of %d bytes, %d are allowed", ErrMalformed, n, limit)
	}
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return 0, 0, midFrame(err)
	}
	return int(n), int32(binary.BigEndian.Uint32(head[4:])), nil
}

// ReadResponseRest reads what ReadResponseHead has left, and returns what
// ReadResponseFrame does: in buffer if it is large enough, else in new memory.
func ReadResponseRest(r io.Reader, correlationID int32, size int, buffer []byte) ([]byte, error) {
	var begun [4]byte
	binary.BigEndian.PutUint32(begun[:], uint32(correlationID))
	if cap(buffer) < size {
		return readRest(r, begun[:], size)
	}
	frame := buffer[:size]
	copy(frame, begun[:])
	if _, err := io.ReadFull(r, frame[len(begun):]); err != nil {
		return nil, midFrame(err)
	}
	return frame, nil
}

// readRest reads a frame of size bytes that begins with what is read already.
func readRest(r io.Reader, begun []byte, size int) ([]byte, error) {
	frame := make([]byte, min(size, readStep))
	read := copy(frame, begun)
	for {
		n, err := io.ReadFull(r, frame[read:])
		read += n
		if err != nil {
			return nil, midFrame(err)
		}
		if read == size {
			return frame, nil
		}
		grown := make([]byte, min(size, 2*len(frame)))
		copy(grown, frame)
		frame = grown
	}
}

// midFrame turns an end of the stream into one that was too early.
func midFrame(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
