package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// maxMessageBytes bounds one gRPC message that the plugin takes.
const maxMessageBytes = 16 << 20

// Server serves one backend over gRPC. It lives from NewServer until Stopped is
// closed: after a Stop that was asked for, or after a failure that ends the
// process. All methods may be called concurrently.
type Server struct {
	consensuspb.UnimplementedConsensusServer

	options     options
	backend     consensus.Backend
	description consensus.Description
	log         *slog.Logger
	lastCall    atomic.Int64 // nanoseconds since born; of any unary call
	born        time.Time
	handingOver atomic.Bool // because the host is silent

	lifecycle sync.Mutex // serializes Start, OpenGroup, CloseGroup, DestroyGroup and shutdown
	dir       *dataDir   // guarded by lifecycle

	proposing chan struct{} // holds a token while a stream of proposals is read

	stopping chan struct{} // closed when shutdown begins: ends every stream
	stopped  chan struct{} // closed when there is nothing more to serve

	mu       sync.Mutex // guards what is below; never held while the backend is called
	state    consensuspb.HealthResponse_State
	lease    time.Duration
	groups   map[consensus.GroupID]*group
	changed  chan struct{} // closed and replaced when groups changes
	exitCode int
	failure  error
}

// NewServer returns a server for b that logs to slog.Default().
func NewServer(b consensus.Backend, opts ...Option) *Server {
	o := options{lockWait: defaultLockWait}
	for _, opt := range opts {
		opt(&o)
	}
	d := b.Describe()
	d.Limits = completeLimits(d.Limits)
	return &Server{
		options:     o,
		backend:     b,
		description: d,
		log:         slog.Default().With("backend", d.Backend),
		born:        time.Now(),
		state:       consensuspb.HealthResponse_STATE_STARTING,
		groups:      make(map[consensus.GroupID]*group),
		changed:     make(chan struct{}),
		proposing:   make(chan struct{}, 1),
		stopping:    make(chan struct{}),
		stopped:     make(chan struct{}),
	}
}

// completeLimits fills in what a backend left open, and keeps a proposal below
// what one message can carry.
func completeLimits(l consensus.Limits) consensus.Limits {
	const frame = 64 << 10 // what a message may hold besides the data
	or := func(v *uint64, otherwise uint64) {
		if *v == 0 {
			*v = otherwise
		}
	}
	or(&l.MaxProposalBytes, 4<<20)
	or(&l.MaxInflightBytes, 64<<20)
	l.MaxProposalBytes = min(l.MaxProposalBytes, maxMessageBytes-frame)
	l.MaxInflightBytes = max(l.MaxInflightBytes, l.MaxProposalBytes)
	if l.MaxInflightProposals == 0 {
		l.MaxInflightProposals = 1024
	}
	if l.MaxGroups == 0 {
		l.MaxGroups = 1
	}
	return l
}

// Options returns how a gRPC server for s must be set up.
func (s *Server) Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.InitialWindowSize(wire.StreamWindow),
		grpc.InitialConnWindowSize(wire.ConnWindow),
		grpc.ChainUnaryInterceptor(s.intercept),
	}
}

// Register adds s to g.
func (s *Server) Register(g *grpc.Server) { consensuspb.RegisterConsensusServer(g, s) }

// intercept notes that the host is alive, gives errors their wire form and acts
// on those that end the process.
func (s *Server) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	s.lastCall.Store(int64(time.Since(s.born)))
	resp, err := handle(ctx, req)
	return resp, s.callError(err)
}

// callError gives err its wire form, after acting on it if it ends the process.
func (s *Server) callError(err error) error {
	if errors.Is(err, consensus.ErrStorageFailed) {
		s.fail(consensus.ExitStorage, err)
	}
	return wire.ToStatus(err)
}

// fail ends the server for good. The first failure counts.
func (s *Server) fail(code int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended() {
		return
	}
	s.log.Error("the backend cannot go on", "error", err, "exit_code", code)
	s.state = consensuspb.HealthResponse_STATE_FAILED
	s.exitCode, s.failure = code, err
	close(s.stopped)
}

// ended tells whether stopped is closed. The caller holds mu if it acts on it.
func (s *Server) ended() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// Stopped is closed when the process should end; see ExitCode.
func (s *Server) Stopped() <-chan struct{} { return s.stopped }

// ExitCode returns, once Stopped is closed, the process's exit code and, unless
// that is 0, why.
func (s *Server) ExitCode() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exitCode, s.failure
}

// Shutdown ends every stream, hands leaderships over if transfer is set, stops
// the backend and releases the data directory. Only the first call does
// anything; it returns the backend's error.
func (s *Server) Shutdown(ctx context.Context, transfer bool) error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	started, first := s.beginShutdown()
	if !first {
		return nil
	}
	if transfer {
		s.transferAll(ctx)
	}
	close(s.stopping)
	var err error
	if started {
		if err = s.backend.Stop(ctx); err != nil {
			err = fmt.Errorf("stop backend %s: %w", s.description.Backend, err)
		}
	}
	s.dir.release()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended() {
		close(s.stopped)
	}
	return err
}

func (s *Server) beginShutdown() (started, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.stopping:
		return false, false
	default:
	}
	started = s.state != consensuspb.HealthResponse_STATE_STARTING
	if s.state != consensuspb.HealthResponse_STATE_FAILED {
		s.state = consensuspb.HealthResponse_STATE_STOPPING
	}
	return started, true
}

// openGroups returns the open groups by ascending id, and a channel that is
// closed when there are others.
func (s *Server) openGroups() ([]*group, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.groups), func(a, b *group) int {
		return cmp.Compare(a.id, b.id)
	}), s.changed
}

func (s *Server) group(id uint64) (*group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[consensus.GroupID(id)]
	if g == nil {
		return nil, fmt.Errorf("group %d: %w", id, consensus.ErrGroupNotFound)
	}
	return g, nil
}

// setGroup adds g under id, or removes what is there if g is nil.
func (s *Server) setGroup(id consensus.GroupID, g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g == nil {
		delete(s.groups, id)
	} else {
		s.groups[id] = g
	}
	close(s.changed)
	s.changed = make(chan struct{})
}
