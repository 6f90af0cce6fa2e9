package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// createPartitions answers CreatePartitions (key 37), v0 to v3.
func (a *API) createPartitions(ctx context.Context, _ *Session, req *kmsg.CreatePartitionsRequest) (*kmsg.CreatePartitionsResponse, error) {
	resp, err := decide[*kmsg.CreatePartitionsResponse](ctx, a, req.TimeoutMillis, req)
	if err == nil {
		return resp, nil
	}
	failed := kmsg.NewPtrCreatePartitionsResponse()
	code, message := a.verdict("create partitions", err)
	for _, t := range req.Topics {
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic, out.ErrorCode, out.ErrorMessage = t.Topic, code, message
		failed.Topics = append(failed.Topics, out)
	}
	return failed, nil
}
