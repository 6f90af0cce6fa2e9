package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// listGroups answers ListGroups (key 16), v0 to v5.
func (a *API) listGroups(ctx context.Context, _ *Session, req *kmsg.ListGroupsRequest) (*kmsg.ListGroupsResponse, error) {
	return a.groups.ListGroups(ctx, req), nil
}
