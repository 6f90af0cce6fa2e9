package interbroker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
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

// Pool is the connections to the other brokers.
type Pool struct {
	cfg     Config
	resolve func(id int32) []string
	log     *slog.Logger

	// ctx ends when the pool is closed; it bounds the dials, which outlive the
	// request that caused them.
	ctx    context.Context // the lifetime of the pool itself
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	lanes  map[laneKey]*lane
	closed bool
}

type laneKey struct {
	broker int32
	name   string
}

// New returns a pool that dials what resolve says, host:port, the first address that
// answers; none if the broker is not known. It dials nothing yet. Zero fields of cfg
// take their default.
func New(cfg Config, resolve func(id int32) []string, log *slog.Logger) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{
		cfg:     cfg.withDefaults(),
		resolve: resolve,
		log:     log.With("component", "interbroker"),
		ctx:     ctx,
		cancel:  cancel,
		lanes:   make(map[laneKey]*lane),
	}
}

// Request sends req to a broker and returns its response.
//
// The version of req is set to the pinned one. req must not be changed until
// Request returns. The error is ErrUnreachable if the request was certainly never
// sent, ErrUncertain if it may have happened, also when ctx ended meanwhile; then it
// wraps the context's error, too.
func (p *Pool) Request(ctx context.Context, broker int32, lane string, req kmsg.Request) (kmsg.Response, error) {
	resp, _, err := p.request(ctx, broker, lane, req, nil)
	return resp, err
}

// Fetch is Request for a Fetch, whose answer may be large: it is read into buffer if
// that has the capacity, else into new memory. The records of the response lie in what
// is returned beside it, which can be given to the next Fetch once they are not needed
// any more. buffer belongs to the pool from the call on, for good if it fails.
func (p *Pool) Fetch(ctx context.Context, broker int32, lane string, req *kmsg.FetchRequest, buffer []byte) (*kmsg.FetchResponse, []byte, error) {
	resp, frame, err := p.request(ctx, broker, lane, req, buffer)
	if err != nil {
		return nil, nil, err
	}
	return resp.(*kmsg.FetchResponse), frame, nil //nolint:errcheck // ParseResponse made it for req
}

func (p *Pool) request(ctx context.Context, broker int32, lane string, req kmsg.Request, buffer []byte) (kmsg.Response, []byte, error) {
	if err := pin(req); err != nil {
		return nil, nil, err
	}
	l, err := p.lane(broker, lane)
	if err != nil {
		return nil, nil, err
	}
	frame, err := l.roundTrip(ctx, req, buffer)
	if err != nil {
		return nil, nil, fmt.Errorf("%s to broker %d: %w", kmsg.NameForKey(req.Key()), broker, err)
	}
	resp, err := protocol.ParseResponse(frame, req)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: broker %d: %w", ErrUncertain, broker, err)
	}
	return resp, frame, nil
}

// lane returns the lane to a broker, made at need. There are as many as brokers
// times lane names, so they are never removed.
func (p *Pool) lane(broker int32, name string) (*lane, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("%w: the pool is closed", ErrUnreachable)
	}
	key := laneKey{broker, name}
	l := p.lanes[key]
	if l == nil {
		l = &lane{pool: p, broker: broker, log: p.log.With("broker", broker, "lane", name)}
		p.lanes[key] = l
	}
	return l, nil
}

// start runs f in a goroutine that Close waits for, unless the pool is closed.
func (p *Pool) start(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Go(f)
	return true
}

// Close closes every connection and waits for the pool's goroutines. Pending
// requests fail with ErrUncertain, later ones with ErrUnreachable.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	lanes := p.lanes
	p.lanes = nil
	p.mu.Unlock()

	p.cancel()
	for _, l := range lanes {
		l.hangUp()
	}
	p.wg.Wait()
}
