package protocol

import (
	"bufio"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// KeyProduce, KeyFetch and KeyAPIVersions are the keys of the requests that the
// framing itself treats in a way of their own.
const (
	KeyProduce     int16 = 0
	KeyFetch       int16 = 1
	KeyAPIVersions int16 = 18
)

// RequestHeader is the header of a request. Its tagged fields are checked and
// then forgotten: Kafka has defined none.
type RequestHeader struct {
	Key, Version  int16
	CorrelationID int32
	// ClientID is what the client calls itself, or nil. It is not to be trusted.
	ClientID *string
}

// A decoded request weighs at most its frame times one of these, plus weightFloor.
// What honest clients send stays far below: a produce request is mostly records,
// which are shared with the frame, and the most that small structs make of their
// bytes is about the factor of eight.
const (
	produceWeight = 3
	requestWeight = 16
	weightFloor   = 4 << 10
)

// RequestWeight is the memory in bytes that a request with a frame of size bytes may
// occupy, frame included, from its admission to its end. ParseRequest refuses what
// would need more, so a budget counted in it holds, whatever the frame contains.
func RequestWeight(key int16, size int) int64 {
	factor := int64(requestWeight)
	if key == KeyProduce {
		factor = produceWeight
	}
	return int64(size)*factor + weightFloor
}

// ParseHeader splits a frame into the request's header and body. Both share the
// frame's bytes, except ClientID.
//
// The header of a key that kmsg does not know has no known format: that is an error.
// The version need not be one that anybody knows.
func ParseHeader(frame []byte) (RequestHeader, []byte, error) {
	c := cursor{src: frame}
	h := RequestHeader{Key: c.int16(), Version: c.int16(), CorrelationID: c.int32()}
	flexible, known := flexibleRequest(h.Key, h.Version)
	if !known {
		return h, nil, fmt.Errorf("%w: unknown request key %d", ErrMalformed, h.Key)
	}
	if n := c.stringLength(false); n >= 0 { // int16 in flexible headers, too (KIP-482)
		id := string(c.take(n))
		h.ClientID = &id
	}
	if flexible {
		c.skipTags()
	}
	if c.bad {
		return h, nil, fmt.Errorf("%w: header of %s v%d ends early", ErrMalformed, kmsg.NameForKey(h.Key), h.Version)
	}
	return h, c.src, nil
}

// StreamHeader reads the header of a Produce or Fetch request of size bytes, after
// ReadRequestHead. It returns how many bytes of body follow.
func StreamHeader(in *bufio.Reader, key, version int16, size int) (h RequestHeader, left int, err error) {
	b := body{in: in, left: size - requestPrefix}
	h = RequestHeader{Key: key, Version: version, CorrelationID: b.int32()}
	if id, ok := b.nullableString(false); ok { // int16 in flexible headers, too (KIP-482)
		h.ClientID = &id
	}
	if key == KeyProduce && version >= flexibleProduce || key == KeyFetch && version >= flexibleFetch {
		b.tags(nil)
	}
	if b.err != nil {
		return h, 0, fmt.Errorf("header of %s v%d: %w", kmsg.NameForKey(key), version, b.err)
	}
	return h, b.left, nil
}

// flexibleRequest says whether a request has tagged fields at a version.
func flexibleRequest(key, version int16) (flexible, known bool) {
	req := kmsg.RequestForKey(key)
	if req == nil {
		return false, false
	}
	req.SetVersion(version)
	return req.IsFlexible(), true
}

// ParseRequest decodes the body that belongs to h. The records and other byte fields
// of the request share body's memory; strings are copied.
//
// Before kmsg sees the body, a walk over it checks every length, count and tag
// section against what is there, and that the result fits RequestWeight. kmsg alone
// takes a count of one-byte elements for granted and allocates structs of up to a few
// hundred bytes for each, and it believes any number of tags.
func ParseRequest(h RequestHeader, body []byte) (kmsg.Request, error) {
	req, _, err := ParseRequestSize(h, body)
	return req, err
}

// ParseRequestSize is ParseRequest; it also returns the memory that the request takes
// beside its body, in bytes.
func ParseRequestSize(h RequestHeader, body []byte) (req kmsg.Request, memory int, err error) {
	req = kmsg.RequestForKey(h.Key)
	if req == nil || h.Version < 0 || h.Version > req.MaxVersion() {
		return nil, 0, fmt.Errorf("%w: no request key %d version %d", ErrMalformed, h.Key, h.Version)
	}
	req.SetVersion(h.Version)
	limit := int(RequestWeight(h.Key, len(body))) - len(body)
	memory, err = measure(shapeOf(req), body, req.IsFlexible(), limit)
	if err == nil {
		err = decode(req, body)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %s v%d: %w", ErrMalformed, kmsg.NameForKey(h.Key), h.Version, err)
	}
	return req, memory, nil
}

// decode calls kmsg's decoder. kmsg has no known way to panic; if it has an unknown
// one, it costs the sender a connection and not the broker its life.
func decode(into interface{ ReadFrom([]byte) error }, body []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decoder panicked: %v", p)
		}
	}()
	return into.ReadFrom(body)
}

// AppendRequest appends a whole request, its length first, at the version that is
// set in req. Key and Version of h are not looked at.
func AppendRequest(dst []byte, h RequestHeader, req kmsg.Request) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(req.Key()))
	dst = binary.BigEndian.AppendUint16(dst, uint16(req.GetVersion()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.CorrelationID))
	if h.ClientID == nil {
		dst = append(dst, 0xff, 0xff)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(*h.ClientID))) // our own client ids are short
		dst = append(dst, *h.ClientID...)
	}
	if req.IsFlexible() {
		dst = append(dst, 0) // no tags
	}
	return setLength(req.AppendTo(dst), start)
}

// setLength writes the length of the frame that begins at start.
func setLength(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4)) // frames are bounded far below
	return dst
}
