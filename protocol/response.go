package protocol

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Response is what answers a request: one of kmsg's types, or a FetchResponse.
type Response interface {
	Key() int16
	SetVersion(version int16)
	IsFlexible() bool
}

// AppendResponse appends a whole response, its length first, at the version that is
// set in resp, which is the request's, except in an answer to an ApiVersions request
// of an unknown version. The header of ApiVersions never has tagged fields, so that a
// client that knows nothing yet can read it (KIP-511).
func AppendResponse(dst []byte, h RequestHeader, resp kmsg.Response) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.CorrelationID))
	if flexibleResponseHeader(resp) {
		dst = append(dst, 0) // no tags
	}
	return setLength(resp.AppendTo(dst), start)
}

func flexibleResponseHeader(resp kmsg.Response) bool {
	return resp.IsFlexible() && resp.Key() != KeyAPIVersions
}

// CorrelationID returns the correlation id that a response frame begins with.
func CorrelationID(frame []byte) (int32, error) {
	c := cursor{src: frame}
	id := c.int32()
	if c.bad {
		return 0, fmt.Errorf("%w: a response of %d bytes", ErrMalformed, len(frame))
	}
	return id, nil
}

// ParseResponse decodes the response frame that answers req. Byte fields share the
// frame's memory. It is meant for answers of brokers of this cluster: counts are
// checked as kmsg does, not as ParseRequest does.
func ParseResponse(frame []byte, req kmsg.Request) (kmsg.Response, error) {
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	c := cursor{src: frame}
	c.skip(4)
	if flexibleResponseHeader(resp) {
		c.skipTags()
	}
	if c.bad {
		return nil, fmt.Errorf("%w: header of a %s response ends early", ErrMalformed, kmsg.NameForKey(req.Key()))
	}
	if err := decode(resp, c.src); err != nil {
		return nil, fmt.Errorf("%w: %s response v%d: %w", ErrMalformed, kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	return resp, nil
}
