package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// createTopics answers CreateTopics (key 19), v2 to v7.
//
// Every broker takes it; the active controller decides (KIP-590). The answer
// waits until this broker's own image has the topics, so that a Metadata request
// right after it finds them here.
//
//	v4  -1 for partitions and replicas means the broker's default (KIP-464)
//	v5  the configuration in the response (KIP-525)
//	v7  topic ids in the response (KIP-516)
func (a *API) createTopics(ctx context.Context, _ *Session, req *kmsg.CreateTopicsRequest) (*kmsg.CreateTopicsResponse, error) {
	resp, err := decide[*kmsg.CreateTopicsResponse](ctx, a, req.TimeoutMillis, req)
	if err == nil {
		return resp, nil
	}
	failed := kmsg.NewPtrCreateTopicsResponse()
	code, message := a.verdict("create topics", err)
	for _, t := range req.Topics {
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic, out.ErrorCode, out.ErrorMessage = t.Topic, code, message
		failed.Topics = append(failed.Topics, out)
	}
	return failed, nil
}
