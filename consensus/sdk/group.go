package sdk

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// group is one open group: the backend's, and what the SDK keeps for it.
type group struct {
	id     consensus.GroupID
	log    consensus.Group
	closed chan struct{}   // closed when the group is: ends its streams
	failed <-chan struct{} // closed when the group has failed; nil if it never does

	order     sync.Mutex // held across log.Propose: one proposal after the other
	sequence  sequence
	delivered atomic.Uint64 // the last index sent to a subscriber
}

// OpenGroup implements the service.
func (s *Server) OpenGroup(ctx context.Context, req *consensuspb.OpenGroupRequest) (*consensuspb.OpenGroupResponse, error) {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	spec := wire.GroupSpecFromProto(req)
	if err := s.mayOpen(spec); err != nil {
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	log, err := s.backend.OpenGroup(ctx, spec)
	if err != nil {
		err = fmt.Errorf("open group %d: %w", spec.ID, err)
		if code := startExitCode(err); code == consensus.ExitStorage || code == consensus.ExitConfig {
			s.fail(code, err)
		}
		return nil, err
	}
	g := &group{id: spec.ID, log: log, closed: make(chan struct{})}
	if f, ok := log.(consensus.Failer); ok {
		g.failed = f.Failed()
	}
	s.setGroup(spec.ID, g)
	return &consensuspb.OpenGroupResponse{
		Position:   g.position(),
		Membership: wire.MembershipToProto(log.Members()),
	}, nil
}

func (s *Server) mayOpen(spec consensus.GroupSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state != consensuspb.HealthResponse_STATE_RUNNING:
		return fmt.Errorf("%w: the backend is not running", consensus.ErrShuttingDown)
	case spec.ID == 0:
		return fmt.Errorf("%w: group 0", consensus.ErrInvalidArgument)
	case spec.Mode < consensus.OpenBootstrap || spec.Mode > consensus.OpenRecover:
		return fmt.Errorf("%w: the open mode is not set, or one that this version does not know", consensus.ErrInvalidArgument)
	case s.groups[spec.ID] != nil:
		return consensus.ErrGroupExists
	case len(s.groups) >= int(s.description.Limits.MaxGroups):
		return fmt.Errorf("%w: %d are open", consensus.ErrGroupLimit, len(s.groups))
	default:
		return nil
	}
}

// CloseGroup implements the service.
func (s *Server) CloseGroup(_ context.Context, req *consensuspb.CloseGroupRequest) (*consensuspb.CloseGroupResponse, error) {
	if err := s.endGroup(req.GetGroupId(), consensus.Group.Close); err != nil {
		return nil, err
	}
	return &consensuspb.CloseGroupResponse{}, nil
}

// DestroyGroup implements the service.
func (s *Server) DestroyGroup(_ context.Context, req *consensuspb.DestroyGroupRequest) (*consensuspb.DestroyGroupResponse, error) {
	if err := s.endGroup(req.GetGroupId(), consensus.Group.Destroy); err != nil {
		return nil, err
	}
	return &consensuspb.DestroyGroupResponse{}, nil
}

func (s *Server) endGroup(id uint64, end func(consensus.Group) error) error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	g, err := s.group(id)
	if err != nil {
		return err
	}
	s.setGroup(g.id, nil)
	close(g.closed)
	if err := end(g.log); err != nil {
		return fmt.Errorf("group %d: %w", id, err)
	}
	return nil
}

// ListGroups implements the service.
func (s *Server) ListGroups(context.Context, *consensuspb.ListGroupsRequest) (*consensuspb.ListGroupsResponse, error) {
	groups, _ := s.openGroups()
	resp := &consensuspb.ListGroupsResponse{}
	for _, g := range groups {
		resp.Groups = append(resp.Groups, g.position())
	}
	return resp, nil
}

// ending returns err, or ErrShuttingDown if the group is being closed: what its
// log says then, of files that are gone, is no failure of the storage.
func (s *Server) ending(g *group, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-g.closed:
	case <-s.stopping:
	default:
		return err
	}
	return fmt.Errorf("%w: %v", consensus.ErrShuttingDown, err) //nolint:errorlint // on purpose: what it wraps would end the process
}

func (g *group) position() *consensuspb.GroupPosition {
	st := g.log.Status()
	return &consensuspb.GroupPosition{
		GroupId:       uint64(g.id),
		FirstIndex:    st.FirstIndex,
		LastIndex:     st.LastIndex,
		SnapshotIndex: st.SnapshotIndex,
		Term:          st.Leadership.Term,
	}
}
