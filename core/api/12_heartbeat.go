package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// heartbeat answers Heartbeat (key 12), v0 to v4.
func (a *API) heartbeat(ctx context.Context, _ *Session, req *kmsg.HeartbeatRequest) (*kmsg.HeartbeatResponse, error) {
	return a.groups.Heartbeat(ctx, req), nil
}
