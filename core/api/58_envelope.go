package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// envelope answers Envelope (key 58, KIP-590): a client's request that another
// broker carries to this one because it leads the metadata.
func (a *API) envelope(ctx context.Context, _ *Session, req *kmsg.EnvelopeRequest) (*kmsg.EnvelopeResponse, error) {
	return a.controller.HandleForwarded(ctx, req), nil
}
