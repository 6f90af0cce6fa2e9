package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetDelete answers OffsetDelete (key 47), v0.
func (a *API) offsetDelete(ctx context.Context, _ *Session, req *kmsg.OffsetDeleteRequest) (*kmsg.OffsetDeleteResponse, error) {
	return a.groups.OffsetDelete(ctx, req), nil
}
