package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteGroups answers DeleteGroups (key 42), v0 to v2.
func (a *API) deleteGroups(ctx context.Context, _ *Session, req *kmsg.DeleteGroupsRequest) (*kmsg.DeleteGroupsResponse, error) {
	return a.groups.DeleteGroups(ctx, req), nil
}
