package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/group"
)

// joinGroup answers JoinGroup (key 11), v0 to v9.
func (a *API) joinGroup(ctx context.Context, s *Session, req *kmsg.JoinGroupRequest) (*kmsg.JoinGroupResponse, error) {
	return a.groups.JoinGroup(ctx, req, group.ClientInfo{ID: clientID(ctx), Host: s.Host}), nil
}
