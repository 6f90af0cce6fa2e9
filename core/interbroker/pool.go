package interbroker

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The lanes. Others may be invented; each costs a connection per broker.
const (
	LaneFetch   = "fetch"   // follower fetches: wait at the leader
	LaneControl = "control" // registration, heartbeats, ISR changes: never wait behind anything
	LaneForward = "forward" // requests of clients on their way to the controller
)

// ErrUnreachable means that the request was certainly not sent: it did not happen.
var ErrUnreachable = errors.New("broker is unreachable")

// ErrUncertain means that the request was sent, in part or whole, and no answer
// came: it may or may not have happened.
var ErrUncertain = errors.New("no answer from broker")

// ProbeResult is what a Probe found out.
type ProbeResult int

// The results of a probe.
const (
	Unclear ProbeResult = iota // no answer in time, or no address: the broker may be alive
	Alive                      // something accepted the connection
	Refused                    // the host is there and nobody listens: the process is gone
)

// String returns the result in lower case.
func (r ProbeResult) String() string {
	switch r {
	case Alive:
		return "alive"
	case Refused:
		return "refused"
	}
	return "unclear"
}

// Config is the settings of a Pool. DefaultConfig has the defaults.
type Config struct {
	SelfID   int32
	ClientID string      // in every request header. Default "quorate".
	TLS      *tls.Config // nil: plaintext. ServerName is set to the host dialled if empty.

	// DialTimeout bounds a connection attempt with its TLS handshake. Default 1 s.
	DialTimeout time.Duration
	// WriteTimeout is how long the socket may not take a request. Default 10 s.
	WriteTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause between connection attempts, which
	// doubles with each failure. Defaults 50 ms and 1 s. Within the pause requests
	// fail with ErrUnreachable at once.
	BackoffMin, BackoffMax time.Duration
	// MaxPending bounds the requests of one connection that wait for their answer;
	// above it Request waits for room. Default 1024.
	MaxPending int
	// MaxResponseBytes bounds a response. Default 256 MiB.
	MaxResponseBytes int
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		ClientID:         "quorate",
		DialTimeout:      time.Second,
		WriteTimeout:     10 * time.Second,
		BackoffMin:       50 * time.Millisecond,
		BackoffMax:       time.Second,
		MaxPending:       1024,
		MaxResponseBytes: 256 << 20,
	}
}

// Pool is the connections to the other brokers.
type Pool struct {
	cfg     Config
	resolve func(id int32) (addr string, ok bool)
	log     *slog.Logger
}

// New returns a pool that dials what resolve says, host:port. It dials nothing yet.
// Zero fields of cfg take their default.
func New(cfg Config, resolve func(id int32) (addr string, ok bool), log *slog.Logger) *Pool {
	return &Pool{cfg: cfg, resolve: resolve, log: log}
}

// Request sends req to a broker and returns its response.
//
// The version of req is set to the pinned one. req must not be changed until
// Request returns. The error is ErrUnreachable if the request was certainly never
// sent, ErrUncertain if it may have happened, also when ctx ended meanwhile.
func (p *Pool) Request(ctx context.Context, broker int32, lane string, req kmsg.Request) (kmsg.Response, error) {
	return nil, ErrUnreachable
}

// Probe dials a broker and hangs up. It waits until ctx ends, DialTimeout at most.
func (p *Pool) Probe(ctx context.Context, broker int32) ProbeResult { return Unclear }

// Close closes every connection and waits for the pool's goroutines. Pending
// requests fail; so do later ones, with ErrUnreachable.
func (p *Pool) Close() {}
