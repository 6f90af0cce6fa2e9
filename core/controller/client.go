package controller

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// Forwarder sends a request to another broker. *interbroker.Pool is one.
type Forwarder interface {
	Request(ctx context.Context, broker int32, lane string, req kmsg.Request) (kmsg.Response, error)
}

// Client reaches the active controller, wherever it is.
type Client struct{}

// NewClient returns a client of broker self.
func NewClient(self int32, c *Controller, pool Forwarder, leader func() (int32, bool), images *metadata.Loader, log *slog.Logger) *Client {
	return &Client{}
}

// Do has the active controller decide req.
func (c *Client) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return nil, protocol.Errorf(protocol.NotController, "no controller")
}

// HandleForwarded answers an Envelope that another broker's Do sent.
func (c *Client) HandleForwarded(ctx context.Context, req *kmsg.EnvelopeRequest) *kmsg.EnvelopeResponse {
	return &kmsg.EnvelopeResponse{}
}

// HandleDirect answers a broker's own request (AlterPartition, BrokerRegistration,
// BrokerHeartbeat, AllocateProducerIDs) that another broker's Do sent.
func (c *Client) HandleDirect(ctx context.Context, req kmsg.Request) kmsg.Response {
	return req.ResponseKind()
}
