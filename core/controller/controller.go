package controller

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// Prober finds out whether a broker's process is there. *interbroker.Pool is one.
type Prober interface {
	Probe(ctx context.Context, broker int32) interbroker.ProbeResult
}

// Controller decides while this broker's replica leads the metadata log.
type Controller struct{}

// New returns a controller.
func New(cfg Config, client consensus.Client, images *metadata.Loader, probe Prober, log *slog.Logger) *Controller {
	return &Controller{}
}

// Run decides, one term after the other.
func (c *Controller) Run(ctx context.Context) error { return nil }

// Handle decides one request.
func (c *Controller) Handle(ctx context.Context, req kmsg.Request) (resp kmsg.Response, index uint64, err error) {
	return nil, 0, protocol.Errorf(protocol.NotController, "this broker is not the active controller")
}
