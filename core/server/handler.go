package server

import (
	"context"
	"net/netip"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// Kind is whom a listener is for. It decides which requests are taken.
type Kind int

// The kinds of a listener.
const (
	Client  Kind = iota // Kafka clients
	Cluster             // the brokers of this cluster
)

// String returns "client" or "cluster".
func (k Kind) String() string {
	if k == Cluster {
		return "cluster"
	}
	return "client"
}

// Session is what is known of a connection. ID, Listener, Kind and Remote never
// change. The other fields may be written in Handler.Begin only, which the
// connection's reader calls; an Answer must not read them but copy what it needs
// when Begin makes it.
type Session struct {
	ID       uint64 // unique in this process
	Listener string
	Kind     Kind
	Remote   netip.AddrPort

	ClientID                      string // of the latest request's header
	SoftwareName, SoftwareVersion string // as ApiVersions v3+ told them (KIP-511)
	// Principal is the verified name: the subject of the TLS client certificate, or
	// empty for an anonymous client.
	Principal string
}

// Request is a request that was decoded: Produce and Fetch by this project's own
// codec, all others by kmsg.
type Request struct {
	Header protocol.RequestHeader
	Body   kmsg.Request // nil if one of the next two is set
	// Produce is still arriving: Begin reads it, partition by partition, and an Answer
	// must not. If the rest does not arrive the connection ends, and what Begin did with
	// the partitions before stays done.
	Produce *protocol.ProduceRequest
	Fetch   *protocol.FetchRequest
	// Unsupported marks an ApiVersions request of a version that nobody here knows.
	// Its body was not decoded; Header.Version keeps what the client asked, and the
	// answer goes out as version 0 (KIP-511).
	Unsupported bool
}

// Answer waits for and returns the response to a request. The connection's writer
// calls it exactly once, in the order of the requests. A nil response sends nothing (acks=0);
// an error is logged and closes the connection. The response is one of kmsg's or a
// *protocol.FetchResponse, whose records the server releases.
//
// ctx ends when the connection is gone or the server stops.
type Answer func(ctx context.Context) (protocol.Response, error)

// Handler is what the server serves.
type Handler interface {
	// Versions returns the range of versions that a listener of this kind takes of
	// the request with this key. The server closes a connection that asks for
	// anything else, ApiVersions excepted.
	Versions(kind Kind, key int16) (minVersion, maxVersion int16, ok bool)
	// Begin starts a request. The connection's reader calls it, in the order of the
	// requests: it does what must happen in that order and must not wait for other
	// brokers or for time to pass. It never returns nil.
	//
	// The request may be kept, and its bytes are not reused, except those of Produce.
	Begin(ctx context.Context, s *Session, r *Request) Answer
}
