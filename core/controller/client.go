package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// retryPause is the time before the controller is looked for again.
const retryPause = 20 * time.Millisecond

// Forwarder sends a request to another broker. *interbroker.Pool is one. It sets
// the version of the request.
type Forwarder interface {
	Request(ctx context.Context, broker int32, lane string, req kmsg.Request) (kmsg.Response, error)
}

// Client reaches the active controller from any broker: by a call if it is here,
// or else on its cluster listener. It may be used concurrently.
type Client struct {
	self       int32
	controller *Controller
	pool       Forwarder
	leader     func() (int32, bool)
	images     *metadata.Loader
	log        *slog.Logger
}

// NewClient returns the client of broker self, which is c's. leader returns the
// broker whose replica leads the metadata log. A single node has no pool.
func NewClient(self int32, c *Controller, pool Forwarder, leader func() (int32, bool), images *metadata.Loader, log *slog.Logger) *Client {
	return &Client{self: self, controller: c, pool: pool, leader: leader, images: images, log: log.With("component", "controller-client")}
}

// Do has the active controller decide req, and returns its answer once this
// broker's image has reached the index that the answer stands on: who asks this
// broker right afterwards finds it here.
//
// It looks for the controller until ctx ends. A request that may have been
// decided already is repeated only if that does no harm. The error is a
// *protocol.Error, or maps to REQUEST_TIMED_OUT if nobody knows whether the
// request was decided.
func (c *Client) Do(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	for {
		resp, index, err := c.try(ctx, req)
		if err == nil {
			if err := c.images.AwaitIndex(ctx, index); err != nil {
				return nil, fmt.Errorf("decided, but not visible here yet: %w", err)
			}
			return resp, nil
		}
		if !again(req, err) {
			return nil, asAnswer(err)
		}
		wait(ctx, nil, retryPause)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no answer from a controller (%s): %w", err.Error(), ctx.Err())
		}
	}
}

var errNoLeader = errors.New("the metadata log has no leader that this broker knows of")

// try asks the broker that is the controller as far as this one knows.
func (c *Client) try(ctx context.Context, req kmsg.Request) (kmsg.Response, uint64, error) {
	id, ok := c.leader()
	if !ok {
		return nil, 0, errNoLeader
	}
	if id == c.self {
		return c.controller.Handle(ctx, req)
	}
	if isDirect(req) {
		return c.direct(ctx, id, req)
	}
	return c.forward(ctx, id, req)
}

// again tells whether a request may be repeated after err. It may if it was
// certainly not decided, and brokers' own requests may always: deciding them
// twice is as good as once.
func again(req kmsg.Request, err error) bool {
	if errors.Is(err, errNoLeader) || errors.Is(err, interbroker.ErrUnreachable) || protocol.CodeOf(err) == protocol.NotController {
		return true
	}
	switch req.(type) {
	case *kmsg.BrokerRegistrationRequest, *kmsg.BrokerHeartbeatRequest, *kmsg.AllocateProducerIDsRequest:
		return errors.Is(err, interbroker.ErrUncertain) || protocol.CodeOf(err) == protocol.RequestTimedOut
	}
	return false
}

// asAnswer is err as it may be shown: an answer that got lost is a timeout, which
// clients take as "it may have happened".
func asAnswer(err error) error {
	if errors.Is(err, interbroker.ErrUncertain) {
		return protocol.Errorf(protocol.RequestTimedOut, "the controller did not answer; it may or may not have happened")
	}
	return err
}

// isDirect tells whether a request is a broker's own, which goes as it is.
func isDirect(req kmsg.Request) bool {
	switch req.(type) {
	case *kmsg.AlterPartitionRequest, *kmsg.BrokerRegistrationRequest, *kmsg.BrokerHeartbeatRequest, *kmsg.AllocateProducerIDsRequest:
		return true
	}
	return false
}

// direct sends a broker's own request.
func (c *Client) direct(ctx context.Context, id int32, req kmsg.Request) (kmsg.Response, uint64, error) {
	resp, err := c.pool.Request(ctx, id, interbroker.LaneControl, req)
	if err != nil {
		return nil, 0, err
	}
	code, index := verdict(resp)
	if code == protocol.NotController {
		return nil, 0, errNotController()
	}
	return resp, index, nil
}

// forward sends a client's request in an Envelope (KIP-590).
func (c *Client) forward(ctx context.Context, id int32, req kmsg.Request) (kmsg.Response, uint64, error) {
	resp, err := c.pool.Request(ctx, id, interbroker.LaneForward, seal(req))
	if err != nil {
		return nil, 0, err
	}
	envelope, ok := resp.(*kmsg.EnvelopeResponse)
	if !ok {
		return nil, 0, fmt.Errorf("an Envelope was answered with %T", resp)
	}
	return open(envelope, req)
}
