package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// ListenerConfig is one socket that the server listens on.
type ListenerConfig struct {
	Name string // unique
	Kind Kind
	Bind string      // host:port; port 0 takes any
	TLS  *tls.Config // nil: plaintext
}

// Config is the server's settings. DefaultConfig has the defaults.
type Config struct {
	Listeners []ListenerConfig

	// MaxRequestBytes bounds a Produce request on the wire. Default 100 MiB.
	// Kafka: socket.request.max.bytes.
	MaxRequestBytes int
	// MaxSmallRequestBytes bounds every other request. Default 1 MiB.
	MaxSmallRequestBytes int
	// MaxInflight is how many requests of one connection may be begun and not yet
	// answered; the next one stays in the socket. Default 16.
	MaxInflight int
	// RequestMemory bounds what all requests in work and the answers to fetches may
	// occupy together, in bytes; half of it is for records of producers. When it is used
	// up the sockets are not read: TCP slows the clients down. A listener for brokers
	// has as much again. Default 64 MiB. Kafka: queued.max.request.bytes.
	RequestMemory int64

	// MaxConnections bounds the open client connections; zero: no limit. The cluster
	// listener is never limited. Default 10000, which takes about 300 MB when all are
	// busy at once and 120 MB when they are idle. Kafka: max.connections.
	MaxConnections int
	// MaxConnectionsPerIP bounds those of one address; zero: no limit. Default 0.
	// Kafka: max.connections.per.ip.
	MaxConnectionsPerIP int

	// MaxConnectionRate bounds the client connections that are accepted in a second; those
	// beyond it wait in the listener's backlog. Zero, the default: no limit.
	// Kafka: max.connection.creation.rate (KIP-612).
	MaxConnectionRate int
	// MaxConnectionRatePerIP bounds those of one address, in a second; those beyond it
	// are closed at once. Zero, the default: no limit. Kafka: the quota
	// connection_creation_rate of an ip (KIP-612).
	MaxConnectionRatePerIP int

	// IdleTimeout closes a client connection without requests. Default 10 min.
	// Kafka: connections.max.idle.ms.
	IdleTimeout time.Duration
	// ParkAfter is how long a plaintext connection keeps its input buffer of 16 KiB while
	// nothing comes. Default 1 s.
	ParkAfter time.Duration
	// ReadTimeout is how long a request that has begun may take to arrive whole; a
	// client that sends a byte now and then is cut off. Default 30 s.
	ReadTimeout time.Duration
	// WriteTimeout is how long a client may take to accept one response. Default 30 s.
	WriteTimeout time.Duration
	// HandshakeTimeout bounds the TLS handshake. Default 10 s.
	HandshakeTimeout time.Duration
	// DrainTimeout is how long answers that were begun may take when the server
	// stops, before their context ends. Default 1 s.
	DrainTimeout time.Duration
}

// DefaultConfig returns the defaults, without listeners.
func DefaultConfig() Config {
	return Config{
		MaxRequestBytes:      100 << 20,
		MaxSmallRequestBytes: 1 << 20,
		MaxInflight:          16,
		RequestMemory:        64 << 20,
		MaxConnections:       10_000,
		IdleTimeout:          10 * time.Minute,
		ParkAfter:            time.Second,
		ReadTimeout:          30 * time.Second,
		WriteTimeout:         30 * time.Second,
		HandshakeTimeout:     10 * time.Second,
		DrainTimeout:         time.Second,
	}
}

// Validate says what is wrong with the settings, all of it.
func (c Config) Validate() error {
	var errs []error
	names := make(map[string]bool, len(c.Listeners))
	for _, l := range c.Listeners {
		if l.Name == "" || names[l.Name] {
			errs = append(errs, fmt.Errorf("listener name %q is empty or not unique", l.Name))
		}
		names[l.Name] = true
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxRequestBytes", int64(c.MaxRequestBytes)},
		{"MaxSmallRequestBytes", int64(c.MaxSmallRequestBytes)},
		{"MaxInflight", int64(c.MaxInflight)},
		{"RequestMemory", c.RequestMemory},
		{"IdleTimeout", int64(c.IdleTimeout)},
		{"ParkAfter", int64(c.ParkAfter)},
		{"ReadTimeout", int64(c.ReadTimeout)},
		{"WriteTimeout", int64(c.WriteTimeout)},
		{"HandshakeTimeout", int64(c.HandshakeTimeout)},
	} {
		if f.value <= 0 {
			errs = append(errs, fmt.Errorf("%s is %d, must be positive", f.name, f.value))
		}
	}
	if min(c.MaxConnections, c.MaxConnectionsPerIP, c.MaxConnectionRate, c.MaxConnectionRatePerIP) < 0 || c.DrainTimeout < 0 {
		errs = append(errs, errors.New("MaxConnections, MaxConnectionsPerIP, MaxConnectionRate, MaxConnectionRatePerIP and DrainTimeout must not be negative"))
	}
	return errors.Join(errs...)
}
