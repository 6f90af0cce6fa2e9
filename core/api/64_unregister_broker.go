package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// unregisterBroker answers UnregisterBroker (key 64), v0.
func (a *API) unregisterBroker(ctx context.Context, _ *Session, req *kmsg.UnregisterBrokerRequest) (*kmsg.UnregisterBrokerResponse, error) {
	resp, err := decide[*kmsg.UnregisterBrokerResponse](ctx, a, 0, req)
	if err == nil {
		return resp, nil
	}
	failed := kmsg.NewPtrUnregisterBrokerResponse()
	failed.ErrorCode, failed.ErrorMessage = a.verdict("unregister broker", err)
	return failed, nil
}
