package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/quorate/quorate/consensus"
)

// Check is one condition of readiness. Func returns why it does not hold, or nil; it
// must honour its context.
type Check struct {
	Name string
	Func func(ctx context.Context) error
}

// Config is the settings of the admin listener. DefaultConfig has the defaults.
type Config struct {
	// Bind is host:port. Default 127.0.0.1:9644.
	Bind string
	// TLS is what the listener shows and asks for; nil: plaintext.
	TLS *tls.Config
	// CheckTimeout bounds all checks of one /readyz together. Default 2 s.
	CheckTimeout time.Duration
	// StopTimeout is how long requests under way may take when the server stops. Default 1 s.
	StopTimeout time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Bind: "127.0.0.1:9644", CheckTimeout: 2 * time.Second, StopTimeout: time.Second}
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Bind); err != nil {
		return fmt.Errorf("admin bind %q: %w", c.Bind, err)
	}
	if c.CheckTimeout <= 0 || c.StopTimeout <= 0 {
		return errors.New("admin: CheckTimeout and StopTimeout must be positive")
	}
	return nil
}

// Server is the admin listener.
type Server struct {
	cfg    Config
	log    *slog.Logger
	http   *http.Server
	socket net.Listener
}

// Option adds to what a server serves.
type Option func(*http.ServeMux, *slog.Logger)

// WithConsensus serves the state of a node's metadata log, and changes of its
// membership and leadership, below /consensus. applied is the index that the node
// has applied; reserve takes the id of a replica that is to be added, for ever, and
// refuses one that was used before (rule M1) with ErrInvalidArgument.
func WithConsensus(node int32, client consensus.Client, applied func() uint64, reserve func(context.Context, consensus.Member) error) Option {
	return func(mux *http.ServeMux, log *slog.Logger) {
		(&consensusAPI{node: node, client: client, applied: applied, reserve: reserve, log: log}).register(mux)
	}
}

// New returns a server for the metrics of g and the checks. It starts nothing.
func New(cfg Config, g prometheus.Gatherer, checks []Check, log *slog.Logger, opts ...Option) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	log = log.With("component", "admin")
	mux := routes(cfg, g, checks)
	for _, add := range opts {
		add(mux, log)
	}
	return &Server{cfg: cfg, log: log, http: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      2 * time.Minute, // a CPU profile takes its time
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

func routes(cfg Config, g prometheus.Gatherer, checks []Check) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok\n") })
	mux.Handle("GET /readyz", readiness{checks: checks, timeout: cfg.CheckTimeout})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// say writes a short answer. If it cannot be written, its reader is gone.
func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the reader is gone
}

// Listen binds the address; the error says in one sentence why it cannot.
func (s *Server) Listen() error {
	socket, err := net.Listen("tcp", s.cfg.Bind)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("admin/bind: %s is in use by another process; stop it or bind another port: %w", s.cfg.Bind, err)
	}
	if err != nil {
		return fmt.Errorf("admin/bind: %w", err)
	}
	if s.socket = socket; s.cfg.TLS != nil {
		s.socket = tls.NewListener(socket, s.cfg.TLS)
	}
	return nil
}

// Addr returns the address that is bound; Listen must have succeeded.
func (s *Server) Addr() net.Addr { return s.socket.Addr() }

// Run serves until ctx ends; Listen must have succeeded.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.StopTimeout)
		defer cancel()
		err := s.http.Shutdown(ctx)
		if err != nil {
			err = s.http.Close() // out of time: cut them off
		}
		stopped <- err
	})
	if err := s.http.Serve(s.socket); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("admin listener: %w", err)
	}
	return <-stopped
}

// Close releases the address if Run is never called.
func (s *Server) Close() error {
	if s.socket == nil {
		return nil
	}
	if err := s.socket.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("admin/bind: %w", err)
	}
	return nil
}
