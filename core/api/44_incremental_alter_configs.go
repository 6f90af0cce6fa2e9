package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// incrementalAlterConfigs answers IncrementalAlterConfigs (key 44, KIP-339), v0 and v1.
func (a *API) incrementalAlterConfigs(ctx context.Context, _ *Session, req *kmsg.IncrementalAlterConfigsRequest) (*kmsg.IncrementalAlterConfigsResponse, error) {
	resp, err := decide[*kmsg.IncrementalAlterConfigsResponse](ctx, a, 0, req)
	if err == nil {
		return resp, nil
	}
	failed := kmsg.NewPtrIncrementalAlterConfigsResponse()
	code, message := a.verdict("alter configs", err)
	for _, r := range req.Resources {
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName, out.ErrorCode, out.ErrorMessage = r.ResourceType, r.ResourceName, code, message
		failed.Resources = append(failed.Resources, out)
	}
	return failed, nil
}
