package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// alterConfigs answers AlterConfigs (key 33), v0 to v2: the whole configuration
// of each resource is replaced.
func (a *API) alterConfigs(ctx context.Context, _ *Session, req *kmsg.AlterConfigsRequest) (*kmsg.AlterConfigsResponse, error) {
	resp, err := decide[*kmsg.AlterConfigsResponse](ctx, a, 0, req)
	if err == nil {
		return resp, nil
	}
	failed := kmsg.NewPtrAlterConfigsResponse()
	code, message := a.verdict("alter configs", err)
	for _, r := range req.Resources {
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName, out.ErrorCode, out.ErrorMessage = r.ResourceType, r.ResourceName, code, message
		failed.Resources = append(failed.Resources, out)
	}
	return failed, nil
}
