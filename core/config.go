package core

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/core/admin"
	"github.com/quorate/quorate/core/api"
	"github.com/quorate/quorate/core/controller"
	"github.com/quorate/quorate/core/group"
	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/core/server"
)

// Listener is a socket for clients.
type Listener struct {
	Name string
	Bind string // host:port
	// Host and Port are what clients are told to dial. A Port of 0 means the bound one.
	Host string
	Port int32
	TLS  *tls.Config // nil: plaintext
}

// Config is a whole broker.
type Config struct {
	BrokerID  int32
	ClusterID string
	Rack      string
	DataDir   string

	Listeners []Listener
	// ClusterBind is where brokers are answered; empty for a single node.
	ClusterBind string
	// ClusterAdvertise is what the other brokers are told to dial, host:port.
	ClusterAdvertise string
	// Peers are the brokers' cluster addresses by broker id, as far as they are known
	// from the start. Brokers that are not among them are found where they registered.
	Peers map[int32]string
	// ReplicaID is this broker's replica of the metadata log; 0 in tests without one.
	ReplicaID uint64
	// Learner is set for a replica that has joined and is not in its place yet; nil
	// for all others.
	Learner *LearnerConfig
	// ClusterServerTLS and ClusterClientTLS secure the traffic between brokers; nil: plaintext.
	ClusterServerTLS, ClusterClientTLS *tls.Config
	// ClusterClientTLSNow, if it is set, is looked up for every connection, in
	// ClusterClientTLS's place.
	ClusterClientTLSNow *atomic.Pointer[tls.Config]

	// Admin is where /metrics, /readyz and the like are; an empty Bind: nowhere.
	Admin admin.Config
	// LeaveTimeout bounds how long a stop waits for leaderships to move away. Default 5 s.
	LeaveTimeout time.Duration

	Server      server.Config // its limits; the listeners are filled in
	Interbroker interbroker.Config
	Replica     replica.Config
	Controller  controller.Config
	Group       group.Config
	API         api.Config
}

// LearnerConfig is for a replica that has just joined.
type LearnerConfig struct {
	// Address is where its peers dial it, host:port.
	Address string
	// Settled is called once it is a voter, or will not be one; it must be durable.
	Settled func() error
}

// DefaultConfig returns every room's defaults.
func DefaultConfig() Config {
	return Config{
		LeaveTimeout: 5 * time.Second,
		Admin:        admin.DefaultConfig(),
		Server:       server.DefaultConfig(),
		Interbroker:  interbroker.DefaultConfig(),
		Replica:      replica.DefaultConfig(),
		Controller:   controller.DefaultConfig(),
		Group:        group.DefaultConfig(),
		API:          api.DefaultConfig(),
	}
}

// filled returns c with what the rooms share written into each of them.
func (c Config) filled() Config {
	c.Interbroker.SelfID, c.Interbroker.TLS = c.BrokerID, c.ClusterClientTLS
	c.Interbroker.TLSNow = c.ClusterClientTLSNow
	c.Replica.BrokerID, c.Replica.DataDir = c.BrokerID, c.DataDir
	c.Controller.BrokerID, c.Controller.ClusterID = c.BrokerID, c.ClusterID
	c.API.BrokerID = c.BrokerID
	return c
}

// Validate returns every problem of the settings at once.
func (c Config) Validate() error {
	var errs []error
	if len(c.Listeners) == 0 {
		errs = append(errs, errors.New("no listener for clients"))
	}
	if len(c.Peers) > 1 && c.ClusterBind == "" {
		errs = append(errs, fmt.Errorf("%d peers and no cluster listener", len(c.Peers)))
	}
	f := c.filled()
	return errors.Join(append(errs, f.Replica.Validate(), f.Controller.Validate(), f.Group.Validate())...)
}
