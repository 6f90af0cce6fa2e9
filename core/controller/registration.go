package controller

import (
	"context"
	"log/slog"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
)

// RegistrationConfig is what a broker says of itself.
type RegistrationConfig struct {
	Config
	Incarnation metadata.UUID // of this process; random if zero
	Rack        string
	Listeners   []metadata.Endpoint // for clients
	Cluster     metadata.Endpoint   // for brokers
}

// Registration keeps this broker registered with the active controller.
type Registration struct{}

// NewRegistration returns a registration.
func NewRegistration(cfg RegistrationConfig, client *Client, leadership Leadership, images *metadata.Loader, log *slog.Logger) *Registration {
	return &Registration{}
}

// Leadership tells who leads the metadata log. A consensus.Client is one.
type Leadership interface {
	LeaderFor(g consensus.GroupID) (consensus.Leadership, <-chan struct{})
}

// Run registers and sends heartbeats.
func (r *Registration) Run(ctx context.Context) error { return nil }

// Epoch returns the broker epoch, -1 before the first registration.
func (r *Registration) Epoch() int64 { return -1 }

// Fenced tells whether the controller has this broker fenced.
func (r *Registration) Fenced() bool { return true }

// Leave asks the controller to move this broker's leaderships away and returns
// once that is done.
func (r *Registration) Leave(ctx context.Context) error { return nil }
