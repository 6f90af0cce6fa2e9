package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetFetch answers OffsetFetch (key 9), v1 to v9.
func (a *API) offsetFetch(ctx context.Context, _ *Session, req *kmsg.OffsetFetchRequest) (*kmsg.OffsetFetchResponse, error) {
	return a.groups.OffsetFetch(ctx, req), nil
}
