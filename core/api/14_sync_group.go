package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// syncGroup answers SyncGroup (key 14), v0 to v5.
func (a *API) syncGroup(ctx context.Context, _ *Session, req *kmsg.SyncGroupRequest) (*kmsg.SyncGroupResponse, error) {
	return a.groups.SyncGroup(ctx, req), nil
}
