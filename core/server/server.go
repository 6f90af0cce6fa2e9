package server

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
)

// Server accepts connections and serves them with a Handler.
type Server struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
}

// New checks cfg and registers the metrics with reg, which may be nil. It starts nothing.
func New(cfg Config, h Handler, log *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, handler: h, log: log}, nil
}

// Listen binds every listener.
func (s *Server) Listen() error { return nil }

// Addr returns the address that the named listener is bound to, or nil.
func (s *Server) Addr(name string) net.Addr { return nil }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
