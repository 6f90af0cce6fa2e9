package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// listener is one bound socket.
type listener struct {
	server *Server
	cfg    ListenerConfig
	socket net.Listener
}

// acceptPauseMax bounds the pause after an accept that failed, as it does when the
// process is out of file descriptors.
const acceptPauseMax = time.Second

// serve accepts until ctx ends, then waits for its connections.
func (l *listener) serve(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var pause time.Duration
	for {
		if !sleep(ctx, l.server.awaitRate(l.cfg.Kind)) {
			return nil
		}
		socket, err := l.socket.Accept()
		switch {
		case err == nil:
			pause = 0
			l.admit(ctx, socket, &wg)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener %q was closed: %w", l.cfg.Name, err)
		default:
			pause = min(max(2*pause, 5*time.Millisecond), acceptPauseMax)
			if log, ok := l.server.quiet.allow("accept on " + l.cfg.Name); ok {
				log.Warn("cannot accept connections", "listener", l.cfg.Name, "error", err)
			}
			if !sleep(ctx, pause) {
				return nil
			}
		}
	}
}

// awaitRate is how long a listener waits before it accepts the next connection.
func (s *Server) awaitRate(kind Kind) time.Duration {
	if kind == Cluster || s.cfg.MaxConnectionRate == 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made.until(float64(s.cfg.MaxConnectionRate), time.Now())
}

// sleep waits for d; it is false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// admit serves a connection in its own goroutines, or closes it if there are too many.
func (l *listener) admit(ctx context.Context, socket net.Conn, wg *sync.WaitGroup) {
	s := l.server
	remote := remoteAddr(socket)
	if reason := s.take(l.cfg.Kind, remote.Addr()); reason != "" {
		s.metrics.refused.WithLabelValues(l.cfg.Name, reason).Inc()
		if log, ok := s.quiet.allow(reason + remote.Addr().String()); ok {
			log.Warn("connection refused", "listener", l.cfg.Name, "remote", remote, "reason", reason)
		}
		closeSocket(socket)
		return
	}
	s.metrics.accepted.WithLabelValues(l.cfg.Name).Inc()
	s.metrics.connections.WithLabelValues(l.cfg.Name).Inc()
	c := newConn(l, socket, remote)
	wg.Go(func() {
		defer s.metrics.connections.WithLabelValues(l.cfg.Name).Dec()
		defer s.give(l.cfg.Kind, remote.Addr())
		c.serve(ctx)
	})
}

// closeSocket closes a socket whose peer is not owed an error.
func closeSocket(socket net.Conn) {
	_ = socket.Close() // nobody could do anything about it
}

func remoteAddr(socket net.Conn) netip.AddrPort {
	if tcp, ok := socket.RemoteAddr().(*net.TCPAddr); ok {
		a := tcp.AddrPort()
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return netip.AddrPort{}
}

// counts is how many client connections are open.
type counts struct {
	all   int
	perIP map[netip.Addr]int
}

func newCounts() counts { return counts{perIP: make(map[netip.Addr]int)} }

// take counts a new connection, or returns the limit that it would break.
func (s *Server) take(kind Kind, ip netip.Addr) (reason string) {
	if kind == Cluster {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.MaxConnectionRate > 0 {
		s.made.take(float64(s.cfg.MaxConnectionRate), time.Now())
	}
	switch {
	case !s.addresses.connect(ip, time.Now()):
		return "max_connection_creation_rate_per_ip"
	case s.cfg.MaxConnections > 0 && s.counts.all >= s.cfg.MaxConnections:
		return "max_connections"
	case s.cfg.MaxConnectionsPerIP > 0 && s.counts.perIP[ip] >= s.cfg.MaxConnectionsPerIP:
		return "max_connections_per_ip"
	}
	s.counts.all++
	s.counts.perIP[ip]++
	return ""
}

// give takes back what take counted.
func (s *Server) give(kind Kind, ip netip.Addr) {
	if kind == Cluster {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.all--
	if s.counts.perIP[ip]--; s.counts.perIP[ip] == 0 {
		delete(s.counts.perIP, ip)
	}
}
