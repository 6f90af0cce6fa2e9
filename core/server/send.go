package server

import (
	"fmt"
	"io"

	"github.com/quorate/quorate/protocol"
)

// sendChunk is how much of a fetch response is put together in memory at a time, and
// scantChunk how much if the memory for answers is used up.
const (
	sendChunk  = 64 << 10
	scantChunk = 4 << 10
)

// sendFetch sends a fetch response and returns its size. The records come from
// wherever they lie, a chunk at a time, so that an answer of any size takes little.
func (c *conn) sendFetch(x *exchange, resp *protocol.FetchResponse) (int, error) {
	head := getBuffer(minResponse)
	defer func() { putBuffer(head) }()
	var inserts []protocol.Insert
	var err error
	head.b, inserts, err = protocol.AppendFetchResponse(head.b, nil, x.header.CorrelationID, resp)
	if err != nil {
		return 0, err
	}
	s := sender{conn: c}
	defer s.close()
	from := 0
	for _, insert := range inserts {
		if err := s.bytes(head.b[from:insert.At]); err != nil {
			return s.sent, err
		}
		from = insert.At
		if err := s.records(insert.Records); err != nil {
			return s.sent, err
		}
	}
	if err := s.bytes(head.b[from:]); err != nil {
		return s.sent, err
	}
	return s.sent, s.flush()
}

// sender puts a response together in a buffer and sends that whenever it is full.
type sender struct {
	conn *conn
	held held
	out  []byte // with room for a chunk; nil before the first byte
	sent int
}

// room makes sure that there is room in out and returns what there is.
func (s *sender) room() ([]byte, error) {
	if s.out == nil {
		if m := s.conn.server.memory[s.conn.session.Kind]; m.tryChunk(&s.held) {
			s.out = s.held.buffer.b[:0]
		} else {
			s.out = make([]byte, 0, scantChunk)
		}
	}
	if len(s.out) == cap(s.out) {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	return s.out[len(s.out):cap(s.out)], nil
}

func (s *sender) bytes(p []byte) error {
	for len(p) > 0 {
		room, err := s.room()
		if err != nil {
			return err
		}
		n := copy(room, p)
		s.out = s.out[:len(s.out)+n]
		p = p[n:]
	}
	return nil
}

// records lets the kernel send records, or reads them into the buffer. What cannot be
// read ends the connection: the length is promised already.
func (s *sender) records(r protocol.Records) error {
	if socket, file, at, ok := s.conn.sendable(r); ok {
		if err := s.flush(); err != nil {
			return err
		}
		n, err := s.conn.sendFile(socket, file, at, r.Size())
		s.sent += n
		return err
	}
	for at, size := 0, r.Size(); at < size; {
		room, err := s.room()
		if err != nil {
			return err
		}
		n, err := r.ReadAt(room[:min(len(room), size-at)], int64(at))
		s.out = s.out[:len(s.out)+n]
		if at += n; n == 0 {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read records for a fetch response: %w", err)
		}
	}
	return nil
}

// flush sends what is in the buffer.
func (s *sender) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	err := s.conn.write(s.out)
	s.sent += len(s.out)
	s.out = s.out[:0]
	return err
}

func (s *sender) close() { s.held.give() }
