package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus"
)

const (
	// hostGoneGrace is what the backend gets to step down once the host is dead;
	// rule L4 gives the whole exit 1 s.
	hostGoneGrace = 700 * time.Millisecond
	// lastAnswer is what the answer to the call that ended the server gets to
	// reach the host.
	lastAnswer = 100 * time.Millisecond
)

// Option changes how a backend is served.
type Option func(*options)

type options struct{ lockWait time.Duration }

// WithLockWait changes how long the lock on the data directory is waited for,
// which is 10 s for a predecessor that is dying.
func WithLockWait(d time.Duration) Option {
	return func(o *options) { o.lockWait = d }
}

// Serve is a plugin's main. It never returns: the process exits with one of the
// codes of package consensus. It sets slog's default logger to one that writes
// what the host understands on stderr. Nothing may be written to stdout before.
func Serve(b consensus.Backend, opts ...Option) {
	os.Exit(serve(b, opts))
}

func serve(b consensus.Backend, opts []Option) int {
	if os.Getenv(CookieKey) != CookieValue {
		fmt.Fprintf(os.Stderr, "This is the consensus plugin %s. A quorate broker starts it; it cannot be run by hand.\n",
			b.Describe().Backend)
		return consensus.ExitConfig
	}
	ignoreSignals()
	logs := newLogWriter(os.Stderr)
	defer logs.flush(lastAnswer)
	slog.SetDefault(slog.New(newLogHandler(logs, os.Getenv(LogLevelKey))))

	s := NewServer(b, opts...)
	gone := watchHost(s, os.Getenv(HostFDKey))
	served := make(chan bool, 1)
	go func() { served <- servePlugin(s, logs) }()
	return s.waitForEnd(gone, served)
}

// ignoreSignals makes the process outlive what is meant for the host: a Ctrl-C,
// the SIGTERM that systemd sends to a whole group, and a stderr that nobody
// reads any more. They are caught and not ignored, since what is ignored is
// inherited by children.
func ignoreSignals() {
	unread := make(chan os.Signal, 1)
	signal.Notify(unread, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
}

// servePlugin blocks while go-plugin serves s, and returns false if it could not.
func servePlugin(s *Server, logs *logWriter) (initialized bool) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &servedPlugin{server: s}}},
		Logger: hclog.New(&hclog.LoggerOptions{
			Name: "go-plugin", Level: hclog.Warn, Output: logs, JSONFormat: true,
		}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			initialized = true
			// The handshake has been read; what this process may start must not
			// take itself for a plugin of this host.
			for _, key := range []string{CookieKey, HostFDKey, "PLUGIN_CLIENT_CERT"} {
				_ = os.Unsetenv(key)
			}
			return grpc.NewServer(append(opts, s.Options()...)...)
		},
	})
	return initialized
}

// waitForEnd waits for whatever ends the process and returns the exit code.
func (s *Server) waitForEnd(gone <-chan string, served <-chan bool) int {
	select {
	case <-s.stopped:
		select {
		case <-gone:
		case <-time.After(lastAnswer):
		}
	case why := <-gone:
		s.log.Warn("the host is gone: stepping down", "reason", why)
		s.shutdownWithin(hostGoneGrace)
		return consensus.ExitOK
	case initialized := <-served:
		if !initialized {
			return consensus.ExitBug
		}
		s.shutdownWithin(hostGoneGrace)
	}
	code, _ := s.ExitCode()
	return code
}

// shutdownWithin shuts down, but does not wait longer than grace for a backend
// that ignores its context.
func (s *Server) shutdownWithin(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(ctx, false) }()
	select {
	case err := <-done:
		if err != nil {
			s.log.Warn("the backend did not stop cleanly", "error", err)
		}
	case <-ctx.Done():
		s.log.Warn("the backend did not stop in time")
	}
}

// servedPlugin is the plugin's half of a go-plugin plugin.
type servedPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server *Server
}

// GRPCServer implements plugin.GRPCPlugin.
func (p *servedPlugin) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	p.server.Register(g)
	return nil
}

// GRPCClient implements plugin.GRPCPlugin; a plugin is never its own client.
func (p *servedPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("not a host")
}
