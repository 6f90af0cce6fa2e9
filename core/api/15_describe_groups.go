package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeGroups answers DescribeGroups (key 15), v0 to v5.
func (a *API) describeGroups(ctx context.Context, _ *Session, req *kmsg.DescribeGroupsRequest) (*kmsg.DescribeGroupsResponse, error) {
	return a.groups.DescribeGroups(ctx, req), nil
}
