package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// Server accepts connections and serves them with a Handler.
type Server struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	quiet   *quiet
	metrics *metrics
	memory  [2]*memory    // by Kind: clients cannot starve the cluster
	lastID  atomic.Uint64 // of a Session

	addresses *addresses

	mu        sync.Mutex
	listeners []*listener
	counts    counts
	made      bucket // of all client connections
}

// New checks cfg and registers the metrics with reg, which may be nil. It starts nothing.
func New(cfg Config, h Handler, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	log = log.With("component", "server")
	return &Server{
		cfg:     cfg,
		handler: h,
		log:     log,
		quiet:   newQuiet(log),
		metrics: m,
		memory:  [2]*memory{Client: newMemory(cfg.RequestMemory), Cluster: newMemory(cfg.RequestMemory)},
		counts:  newCounts(),

		addresses: newAddresses(cfg.MaxConnectionRatePerIP),
	}, nil
}

// Listen binds every listener, or none: the error names the one that could not be
// bound and why, in one sentence.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) > 0 {
		return errors.New("already listening")
	}
	for _, cfg := range s.cfg.Listeners {
		socket, err := net.Listen("tcp", cfg.Bind)
		if err != nil {
			s.closeListenersLocked()
			return bindError(cfg, err)
		}
		s.listeners = append(s.listeners, &listener{server: s, cfg: cfg, socket: socket})
	}
	return nil
}

// bindError says what an operator has to know.
func bindError(cfg ListenerConfig, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listener %q: %s is in use by another process; stop it or bind another port: %w", cfg.Name, cfg.Bind, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listener %q: %s is not an address of this machine: %w", cfg.Name, cfg.Bind, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listener %q: not allowed to bind %s; ports below 1024 need a privilege: %w", cfg.Name, cfg.Bind, err)
	default:
		return fmt.Errorf("listener %q: %w", cfg.Name, err)
	}
}

// Addr returns the address that the named listener is bound to, or nil.
func (s *Server) Addr(name string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if l.cfg.Name == name {
			return l.socket.Addr()
		}
	}
	return nil
}

// Run serves what Listen has bound, until ctx ends or a listener fails. It then
// stops accepting and reading, gives the answers that were begun DrainTimeout to
// come, and returns when the last connection is closed: nil if ctx ended.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	listeners := s.listeners
	s.mu.Unlock()
	if len(listeners) == 0 {
		return errors.New("nothing to serve: Listen was not called")
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		group.Go(func() error { return l.serve(ctx) })
	}
	group.Go(func() error {
		<-ctx.Done()
		s.Close()
		return nil
	})
	return group.Wait()
}

// Close releases the listening sockets. Run does it as well; connections that are
// open end with Run's context.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeListenersLocked()
}

func (s *Server) closeListenersLocked() {
	for _, l := range s.listeners {
		if err := l.socket.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("listener did not close", "listener", l.cfg.Name, "error", err)
		}
	}
	s.listeners = nil
}
