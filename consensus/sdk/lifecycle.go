package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

// Describe implements the service.
func (s *Server) Describe(context.Context, *consensuspb.DescribeRequest) (*consensuspb.DescribeResponse, error) {
	return wire.DescriptionToProto(s.description), nil
}

// ValidateConfig implements the service.
func (s *Server) ValidateConfig(_ context.Context, req *consensuspb.ValidateConfigRequest) (*consensuspb.ValidateConfigResponse, error) {
	ds := s.backend.Validate(req.GetBackendConfig())
	return &consensuspb.ValidateConfigResponse{Diagnostics: wire.DiagnosticsToProto(ds)}, nil
}

// Start implements the service: capabilities, lock, META.json, then the backend.
// A failure that another attempt would not change ends the process.
func (s *Server) Start(ctx context.Context, req *consensuspb.StartRequest) (*consensuspb.StartResponse, error) {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	if s.currentState() != consensuspb.HealthResponse_STATE_STARTING {
		return nil, fmt.Errorf("%w: the backend was started already", consensus.ErrInvalidArgument)
	}
	cfg := wire.StartFromProto(req)
	if err := s.start(ctx, cfg); err != nil {
		s.dir.release()
		s.dir = nil
		if code := startExitCode(err); code != consensus.ExitOK {
			s.fail(code, err)
		}
		return nil, err
	}
	s.log.Info("backend started", "cluster_id", cfg.ClusterID, "replica_id", cfg.ReplicaID,
		"peer_address", s.backend.BoundPeerAddress(), "host_session_id", cfg.SessionID)
	s.lastCall.Store(int64(time.Since(s.born))) // the lease runs from here
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = consensuspb.HealthResponse_STATE_RUNNING
	s.lease = cfg.HostLease
	return &consensuspb.StartResponse{BoundPeerAddress: s.backend.BoundPeerAddress()}, nil
}

func (s *Server) start(ctx context.Context, cfg consensus.StartConfig) error {
	if cfg.ReplicaID == 0 || cfg.ClusterID == "" {
		return fmt.Errorf("%w: replica id and cluster id must be set", consensus.ErrInvalidArgument)
	}
	for _, c := range cfg.Required {
		if !slices.Contains(s.description.Capabilities, c) {
			return fmt.Errorf("%w: backend %s lacks the capability %s",
				consensus.ErrUnsupported, s.description.Backend, consensuspb.Capability(c))
		}
	}
	dir, err := openDataDir(ctx, cfg.DataDir, s.options.lockWait, meta{
		Backend: s.description.Backend, Format: metaFormat, ClusterID: cfg.ClusterID, ReplicaID: cfg.ReplicaID,
	})
	if err != nil {
		return err
	}
	s.dir = dir
	return s.backend.Start(ctx, cfg)
}

// startExitCode returns what the process exits with after err from Start, or
// ExitOK if it stays for another attempt.
func startExitCode(err error) int {
	switch {
	case errors.Is(err, consensus.ErrStorageFailed):
		return consensus.ExitStorage
	case errors.Is(err, consensus.ErrDataDirLocked):
		return consensus.ExitLocked
	case errors.Is(err, consensus.ErrDataIncompatible),
		errors.Is(err, consensus.ErrInvalidArgument),
		errors.Is(err, consensus.ErrUnsupported):
		return consensus.ExitConfig
	default:
		return consensus.ExitOK
	}
}

func (s *Server) currentState() consensuspb.HealthResponse_State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Health implements the service. It takes no lock that a loop or a lifecycle
// call holds while it works.
func (s *Server) Health(context.Context, *consensuspb.HealthRequest) (*consensuspb.HealthResponse, error) {
	var loop, sync time.Duration
	groups, _ := s.openGroups()
	for _, g := range groups {
		l, y := g.log.LoopAge()
		loop, sync = max(loop, l), max(sync, y)
	}
	_, failure := s.ExitCode()
	resp := &consensuspb.HealthResponse{
		State:         s.currentState(),
		MaxLoopAgeMs:  uint64(loop.Milliseconds()),
		CurrentSyncMs: uint64(sync.Milliseconds()),
	}
	if failure != nil {
		resp.Detail = failure.Error()
	}
	return resp, nil
}

// Stop implements the service.
func (s *Server) Stop(ctx context.Context, req *consensuspb.StopRequest) (*consensuspb.StopResponse, error) {
	if grace := wire.Duration(req.GetGraceMs()); grace > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, grace)
		defer cancel()
	}
	if err := s.Shutdown(ctx, req.GetTransferLeadership()); err != nil {
		return nil, err
	}
	return &consensuspb.StopResponse{}, nil
}

// ReloadPeerTLS implements the service for backends that are TLSReloaders.
func (s *Server) ReloadPeerTLS(_ context.Context, req *consensuspb.ReloadPeerTLSRequest) (*consensuspb.ReloadPeerTLSResponse, error) {
	r, ok := s.backend.(consensus.TLSReloader)
	if !ok {
		return nil, fmt.Errorf("reload peer TLS: %w", consensus.ErrUnsupported)
	}
	tls := wire.PeerTLSFromProto(req.GetTls())
	if tls == nil {
		return nil, fmt.Errorf("%w: no certificates given", consensus.ErrInvalidArgument)
	}
	if err := r.ReloadPeerTLS(*tls); err != nil {
		return nil, fmt.Errorf("reload peer TLS: %w", err)
	}
	return &consensuspb.ReloadPeerTLSResponse{}, nil
}
