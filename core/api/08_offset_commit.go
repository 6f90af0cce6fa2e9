package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetCommit answers OffsetCommit (key 8), v2 to v9.
func (a *API) offsetCommit(ctx context.Context, _ *Session, req *kmsg.OffsetCommitRequest) (*kmsg.OffsetCommitResponse, error) {
	return a.groups.OffsetCommit(ctx, req), nil
}
