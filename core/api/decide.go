package api

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// decide has the active controller answer req, here or elsewhere, within the
// client's timeout. The answer is visible in this broker's image when it
// returns, so that a Metadata request right after it agrees with it.
func decide[Resp kmsg.Response](ctx context.Context, a *API, timeoutMillis int32, req kmsg.Request) (resp Resp, err error) {
	timeout := time.Duration(timeoutMillis) * time.Millisecond
	if timeoutMillis <= 0 {
		timeout = a.cfg.RequestTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := a.controller.Do(ctx, req)
	if err != nil {
		return resp, undecided(err)
	}
	resp, ok := answer.(Resp)
	if !ok {
		return resp, fmt.Errorf("request of key %d answered with %T", req.Key(), answer)
	}
	return resp, nil
}

// undecided tells a client what it may conclude from a decision that was not
// reached: time ran out, and the change may or may not happen yet.
func undecided(err error) error {
	if protocol.CodeOf(err) == protocol.RequestTimedOut {
		return protocol.Errorf(protocol.RequestTimedOut, "not decided in time; it may still happen: %v", err)
	}
	return err
}

// verdict is an error as the answers of admin requests carry it.
func (a *API) verdict(what string, err error) (code int16, message *string) {
	c := protocol.CodeOf(err)
	if c == protocol.UnknownServerError {
		a.log.Error("request failed", "request", what, "error", err)
	}
	return int16(c), protocol.MessageOf(err)
}
