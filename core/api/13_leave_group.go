package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaveGroup answers LeaveGroup (key 13), v0 to v5.
func (a *API) leaveGroup(ctx context.Context, _ *Session, req *kmsg.LeaveGroupRequest) (*kmsg.LeaveGroupResponse, error) {
	return a.groups.LeaveGroup(ctx, req), nil
}
