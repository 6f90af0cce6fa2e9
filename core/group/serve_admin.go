package group

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/protocol"
)

// ListGroups answers ListGroups (key 16), v0 to v5: the groups of every partition
// that this broker leads. A client asks all brokers.
//
//	v4  a filter by state (KIP-518)
//	v5  a filter by type (KIP-848)
func (c *Coordinator) ListGroups(ctx context.Context, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = req.Version
	for _, p := range c.shards.Partitions() {
		groups, err := coordinator.Do(ctx, c.shards, p, "", func(m *machine, _ *coordinator.Turn, r coordinator.Reply[[]kmsg.ListGroupsResponseGroup]) {
			r.Send(m.list(req.StatesFilter, req.TypesFilter))
		})
		switch code := protocol.CodeOf(err); code {
		case protocol.None:
			resp.Groups = append(resp.Groups, groups...)
		case protocol.NotCoordinator: // another broker lists them
		default:
			resp.ErrorCode = int16(c.codeOf(err))
		}
	}
	return resp
}

// DescribeGroups answers DescribeGroups (key 15), v0 to v5. A group that there is
// none of is described as dead.
func (c *Coordinator) DescribeGroups(ctx context.Context, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Version = req.Version
	for _, id := range req.Groups {
		g, err := on(ctx, c, id, func(m *machine, t *coordinator.Turn, r coordinator.Reply[kmsg.DescribeGroupsResponseGroup]) {
			r.SendCommitted(t, m.describe(id))
		})
		if err != nil {
			g = kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.ErrorCode = id, int16(c.codeOf(err))
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// DeleteGroups answers DeleteGroups (key 42), v0 to v2: groups without members,
// with their offsets.
func (c *Coordinator) DeleteGroups(ctx context.Context, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = req.Version
	for _, id := range req.Groups {
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group, g.ErrorCode = id, int16(c.deleteGroup(ctx, id))
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// removal is what one turn of a deletion has come to.
type removal struct {
	code protocol.ErrorCode
	more bool
}

func (c *Coordinator) deleteGroup(ctx context.Context, id string) protocol.ErrorCode {
	for {
		done, err := on(ctx, c, id, func(m *machine, t *coordinator.Turn, r coordinator.Reply[removal]) {
			code, more := m.remove(t, id)
			r.SendCommitted(t, removal{code: code, more: more})
		})
		switch {
		case err != nil:
			return c.codeOf(err)
		case !done.more:
			return done.code
		}
	}
}
