package etcdraft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// A frame on a message connection, integers little endian:
//
//	+-------+--------+--------+------------------+
//	| len   | crc32c | group  | raftpb.Message   |
//	| u32   | u32    | u64    |                  |
//	+-------+--------+--------+------------------+
//
// len and crc32c are of what follows them.
const (
	frameHeader = 8
	// maxFrameBytes has room for one message of the largest max_message_bytes
	// and the largest proposal on top.
	maxFrameBytes = 12 << 20
	// maxFrameEntries bounds the memory that a small frame can ask for: an entry
	// takes two bytes on the wire and a hundred in memory.
	maxFrameEntries = 1 << 18
)

var (
	errFrame   = errors.New("broken frame")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func appendFrame(dst []byte, group uint64, m *raftpb.Message) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, frameHeader)...)
	dst = binary.LittleEndian.AppendUint64(dst, group)
	dst, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		return dst[:start], fmt.Errorf("encode message: %w", err)
	}
	body := dst[start+frameHeader:]
	if len(body) > maxFrameBytes {
		return dst[:start], fmt.Errorf("message of %d bytes, the limit is %d", len(body), maxFrameBytes)
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(body)))
	binary.LittleEndian.PutUint32(dst[start+4:], crc32.Checksum(body, castagnoli))
	return dst, nil
}

// readFrame reads one frame. buf is used for it if large enough and returned;
// the message does not alias it.
func readFrame(r io.Reader, buf []byte) (group uint64, m *raftpb.Message, _ []byte, err error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, buf, err
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	if n < 8 || n > maxFrameBytes {
		return 0, nil, buf, fmt.Errorf("%w: length %d", errFrame, n)
	}
	if buf, err = readBody(r, buf[:0], n); err != nil {
		return 0, nil, buf, err
	}
	if binary.LittleEndian.Uint32(head[4:]) != crc32.Checksum(buf, castagnoli) {
		return 0, nil, buf, fmt.Errorf("%w: wrong checksum", errFrame)
	}
	m, err = parseMessage(buf[8:])
	return binary.LittleEndian.Uint64(buf), m, buf, err
}

// readBody reads n bytes in steps, so that a length that lies costs no memory.
func readBody(r io.Reader, buf []byte, n int64) ([]byte, error) {
	const step = 64 << 10
	for int64(len(buf)) < n {
		at, k := len(buf), int(min(step, n-int64(len(buf))))
		if cap(buf)-at < k {
			buf = append(make([]byte, 0, min(n, int64(2*(at+k)))), buf...)
		}
		buf = buf[:at+k]
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return buf, fmt.Errorf("%w: %w", errFrame, err)
		}
	}
	return buf, nil
}

func parseMessage(b []byte) (*raftpb.Message, error) {
	if n := countEntries(b); n < 0 || n > maxFrameEntries {
		return nil, fmt.Errorf("%w: %d entries", errFrame, n)
	}
	m := new(raftpb.Message)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return m, nil
}

// The fields of raftpb.Message that hold messages.
const (
	entriesField   = 7
	snapshotField  = 9
	responsesField = 14
)

// countEntries counts the entries in an encoded message, -1 if it cannot be read
// or holds messages that have no business in a frame.
func countEntries(b []byte) int {
	n := 0
	for len(b) > 0 {
		field, _, size := protowire.ConsumeField(b)
		if size < 0 || field == snapshotField || field == responsesField {
			return -1
		}
		if field == entriesField {
			n++
		}
		b = b[size:]
	}
	return n
}
