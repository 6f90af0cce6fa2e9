package interbroker

import (
	"cmp"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"
)

// Config is the settings of a Pool. DefaultConfig has the defaults.
type Config struct {
	SelfID   int32       // of this broker, for the log
	ClientID string      // in every request header. Default "quorate".
	TLS      *tls.Config // nil: plaintext. ServerName is the host that is dialled, if empty.
	// TLSNow, if it is set, is looked up for every connection, in TLS's place:
	// certificates are renewed while the broker runs.
	TLSNow *atomic.Pointer[tls.Config]

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

// withDefaults returns c with the defaults in the place of zeros.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.ClientID = cmp.Or(c.ClientID, d.ClientID)
	c.DialTimeout = cmp.Or(c.DialTimeout, d.DialTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, d.WriteTimeout)
	c.BackoffMin = cmp.Or(c.BackoffMin, d.BackoffMin)
	c.BackoffMax = max(cmp.Or(c.BackoffMax, d.BackoffMax), c.BackoffMin)
	c.MaxPending = cmp.Or(c.MaxPending, d.MaxPending)
	c.MaxResponseBytes = cmp.Or(c.MaxResponseBytes, d.MaxResponseBytes)
	return c
}

// Validate says whether New can work with c; zeros stand for defaults.
func (c Config) Validate() error {
	if c.DialTimeout < 0 || c.WriteTimeout < 0 || c.BackoffMin < 0 || c.BackoffMax < 0 {
		return errors.New("a timeout or back-off is negative")
	}
	if c.MaxPending < 0 || c.MaxResponseBytes < 0 {
		return errors.New("MaxPending or MaxResponseBytes is negative")
	}
	if len(c.ClientID) > 249 {
		return errors.New("ClientID is longer than 249 bytes")
	}
	return nil
}
