package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteTopics answers DeleteTopics (key 20), v1 to v6.
//
//	v6  by name or by topic id (KIP-516)
func (a *API) deleteTopics(ctx context.Context, _ *Session, req *kmsg.DeleteTopicsRequest) (*kmsg.DeleteTopicsResponse, error) {
	resp, err := decide[*kmsg.DeleteTopicsResponse](ctx, a, req.TimeoutMillis, req)
	if err == nil {
		return resp, nil
	}
	failed := kmsg.NewPtrDeleteTopicsResponse()
	code, message := a.verdict("delete topics", err)
	for _, name := range req.TopicNames {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.ErrorCode, out.ErrorMessage = &name, code, message
		failed.Topics = append(failed.Topics, out)
	}
	for _, t := range req.Topics {
		out := kmsg.NewDeleteTopicsResponseTopic()
		out.Topic, out.TopicID, out.ErrorCode, out.ErrorMessage = t.Topic, t.TopicID, code, message
		failed.Topics = append(failed.Topics, out)
	}
	return failed, nil
}
