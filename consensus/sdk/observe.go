package sdk

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// transferWait bounds one transfer of leadership during a stop.
const transferWait = 2 * time.Second

// LeaderFor implements the service.
func (s *Server) LeaderFor(_ context.Context, req *consensuspb.LeaderForRequest) (*consensuspb.LeaderForResponse, error) {
	g, err := s.group(req.GetGroupId())
	if err != nil {
		return nil, err
	}
	lead, _ := g.log.Leadership()
	return &consensuspb.LeaderForResponse{Leadership: wire.LeadershipToProto(g.id, lead, g.log.Members())}, nil
}

// ReadIndex implements the service.
func (s *Server) ReadIndex(ctx context.Context, req *consensuspb.ReadIndexRequest) (*consensuspb.ReadIndexResponse, error) {
	g, err := s.group(req.GetGroupId())
	if err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(ctx, req.GetTimeoutMs())
	defer cancel()
	index, term, err := g.log.ReadIndex(ctx)
	if err != nil {
		return nil, fmt.Errorf("read index of group %d: %w", g.id, s.ending(g, err))
	}
	return &consensuspb.ReadIndexResponse{Index: index, Term: term}, nil
}

func withTimeout(ctx context.Context, ms uint32) (context.Context, context.CancelFunc) {
	if ms == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, wire.Duration(ms))
}

// GetMembership implements the service.
func (s *Server) GetMembership(_ context.Context, req *consensuspb.GetMembershipRequest) (*consensuspb.GetMembershipResponse, error) {
	g, err := s.group(req.GetGroupId())
	if err != nil {
		return nil, err
	}
	return &consensuspb.GetMembershipResponse{Membership: wire.MembershipToProto(g.log.Members())}, nil
}

// ChangeMembership implements the service for groups that are MembershipChangers.
func (s *Server) ChangeMembership(ctx context.Context, req *consensuspb.ChangeMembershipRequest) (*consensuspb.ChangeMembershipResponse, error) {
	g, err := s.group(req.GetGroupId())
	if err != nil {
		return nil, err
	}
	c, ok := g.log.(consensus.MembershipChanger)
	if !ok {
		return nil, consensus.ErrUnsupported
	}
	ctx, cancel := withTimeout(ctx, req.GetTimeoutMs())
	defer cancel()
	m, err := c.ChangeMembers(ctx, req.GetExpectedConfigIndex(), wire.ChangesFromProto(req.GetChanges()))
	if err != nil {
		return nil, err // the host says of what
	}
	return &consensuspb.ChangeMembershipResponse{Membership: wire.MembershipToProto(m)}, nil
}

// TransferLeadership implements the service for groups that are LeadershipTransferers.
func (s *Server) TransferLeadership(ctx context.Context, req *consensuspb.TransferLeadershipRequest) (*consensuspb.TransferLeadershipResponse, error) {
	g, err := s.group(req.GetGroupId())
	if err != nil {
		return nil, err
	}
	t, ok := g.log.(consensus.LeadershipTransferer)
	if !ok {
		return nil, consensus.ErrUnsupported
	}
	ctx, cancel := withTimeout(ctx, req.GetTimeoutMs())
	defer cancel()
	to := req.GetTargetReplicaId()
	if to == consensus.NoLeader {
		to = successor(g.log)
	}
	if to == consensus.NoLeader {
		return nil, fmt.Errorf("%w: there is nobody else", consensus.ErrInvalidArgument)
	}
	if err := t.TransferLeadership(ctx, to); err != nil {
		return nil, err // as above
	}
	lead, _ := g.log.Leadership()
	return &consensuspb.TransferLeadershipResponse{NewTerm: lead.Term}, nil
}

// GetStatus implements the service.
func (s *Server) GetStatus(_ context.Context, req *consensuspb.GetStatusRequest) (*consensuspb.GetStatusResponse, error) {
	groups, _ := s.openGroups()
	if ids := req.GetGroupIds(); len(ids) > 0 {
		groups = nil
		for _, id := range ids {
			g, err := s.group(id)
			if err != nil {
				return nil, err
			}
			groups = append(groups, g)
		}
	}
	resp := &consensuspb.GetStatusResponse{}
	for _, g := range groups {
		st := g.log.Status()
		if !req.GetIncludePeers() {
			st.Peers = nil
		}
		p := wire.StatusToProto(g.id, st, g.log.Members())
		p.DeliveredIndex = g.delivered.Load()
		resp.Groups = append(resp.Groups, p)
	}
	return resp, nil
}

// GetMetrics implements the service for backends that are Metricsers.
func (s *Server) GetMetrics(context.Context, *consensuspb.GetMetricsRequest) (*consensuspb.GetMetricsResponse, error) {
	m, ok := s.backend.(consensus.Metricser)
	if !ok {
		return nil, fmt.Errorf("metrics: %w", consensus.ErrUnsupported)
	}
	return &consensuspb.GetMetricsResponse{Metrics: wire.MetricsToProto(m.Metrics())}, nil
}

// successor returns the voter that is best prepared to lead g after this
// replica, or NoLeader if there is none.
func successor(g consensus.Group) uint64 {
	match := make(map[uint64]uint64)
	for _, p := range g.Status().Peers {
		match[p.ReplicaID] = p.Match
	}
	lead, _ := g.Leadership()
	best := consensus.NoLeader
	for _, m := range g.Members().Members {
		if m.Role != consensus.Voter || m.ReplicaID == lead.Leader {
			continue
		}
		if best == consensus.NoLeader || match[m.ReplicaID] > match[best] {
			best = m.ReplicaID
		}
	}
	return best
}

// heir returns who can lead g after this replica, if this one leads and the
// backend can hand over.
func (g *group) heir() (t consensus.LeadershipTransferer, to uint64, ok bool) {
	lead, _ := g.log.Leadership()
	if t, ok = g.log.(consensus.LeadershipTransferer); !ok || lead.Role != consensus.LeaderReady {
		return nil, consensus.NoLeader, false
	}
	to = successor(g.log)
	return t, to, to != consensus.NoLeader
}

// transferAll hands over every leadership, as far as the backend can and ctx allows.
func (s *Server) transferAll(ctx context.Context) {
	groups, _ := s.openGroups()
	var wg sync.WaitGroup
	for _, g := range groups {
		t, to, ok := g.heir()
		if !ok {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, transferWait)
			defer cancel()
			if err := t.TransferLeadership(ctx, to); err != nil {
				s.log.Warn("leadership was not handed over", "group", g.id, "error", err)
			}
		})
	}
	wg.Wait()
}
