package hashicorpraft

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/quorate/quorate/consensus"
)

const (
	maxGroups        = 1
	maxMembers       = 7
	maxProposalBytes = 1 << 20 // times max_append_entries is what one message may hold
	maxInflight      = 4096
	maxInflightBytes = 64 << 20
)

// New returns a backend that has not been started.
func New() consensus.Backend { return newBackend() }

func newBackend() *backend {
	return &backend{
		openLog: openLog,
		fatal: func(err error) {
			slog.Error("the log can not be trusted any more", "error", err)
			os.Exit(consensus.ExitStorage)
		},
	}
}

type backend struct {
	fatal   func(error)                              // ends the process; tests replace it
	openLog func(dir string, o Options) (wal, error) // of the group in dir; tests replace it

	mu      sync.Mutex
	cfg     consensus.StartConfig
	options Options
	streams *streams // nil until started
	group   *group
	stopped bool
}

func (b *backend) Describe() consensus.Description {
	return consensus.Description{
		Backend: "hashicorp-raft", Version: "1.8.0",
		Capabilities: []consensus.Capability{
			consensus.CapLearners, consensus.CapLeaderTransfer, consensus.CapPreVote, consensus.CapCheckQuorum, consensus.CapTLSReload,
		},
		Limits: consensus.Limits{
			MaxGroups: maxGroups, MaxMembers: maxMembers, MaxProposalBytes: maxProposalBytes,
			MaxInflightProposals: maxInflight, MaxInflightBytes: maxInflightBytes,
		},
		ConfigSchema: json.RawMessage(schema),
		PeerProtocol: peerProtocol,
	}
}

func (b *backend) Validate(options json.RawMessage) []consensus.Diagnostic {
	_, problems := parseOptions(options)
	return problems
}

func (b *backend) Start(_ context.Context, cfg consensus.StartConfig) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	options, problems := parseOptions(cfg.Options)
	if cfg.Timing.ElectionTimeout == 0 {
		cfg.Timing = consensus.DefaultTiming()
	}
	switch {
	case b.streams != nil || b.stopped:
		return fmt.Errorf("start: %w: it was started before", consensus.ErrInvalidArgument)
	case cfg.ReplicaID == consensus.NoLeader || cfg.DataDir == "":
		return fmt.Errorf("start: %w: a replica id and a data directory are needed", consensus.ErrInvalidArgument)
	case len(problems) > 0:
		return fmt.Errorf("start: %w: option %q: %s", consensus.ErrInvalidArgument, problems[0].Path, problems[0].Message)
	}
	s, err := listen(cfg)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	b.cfg, b.options, b.streams = cfg, options, s
	return nil
}

// BoundPeerAddress is the advertised address, with the port that was bound if
// none was given.
func (b *backend) BoundPeerAddress() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.streams == nil {
		return ""
	}
	bound := b.streams.listener.Addr().String()
	host, port, err := net.SplitHostPort(string(b.streams.advertise))
	if err != nil || port != "0" {
		return string(b.streams.advertise)
	}
	_, port, err = net.SplitHostPort(bound)
	if err != nil {
		return bound
	}
	return net.JoinHostPort(host, port)
}

func (b *backend) OpenGroup(_ context.Context, spec consensus.GroupSpec) (consensus.Group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.streams == nil || b.stopped:
		return nil, fmt.Errorf("open group %d: %w: the backend is not running", spec.ID, consensus.ErrInvalidArgument)
	case b.group != nil && b.group.spec.ID == spec.ID:
		return nil, fmt.Errorf("open group %d: %w", spec.ID, consensus.ErrGroupExists)
	case b.group != nil:
		return nil, fmt.Errorf("open group %d: %w: it keeps one", spec.ID, consensus.ErrGroupLimit)
	}
	g, err := openGroup(b, spec)
	if err != nil {
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	b.group = g
	return g, nil
}

var _ consensus.TLSReloader = (*backend)(nil)

// ReloadPeerTLS takes certificates for connections that are made from now on.
func (b *backend) ReloadPeerTLS(t consensus.PeerTLS) error {
	b.mu.Lock()
	s := b.streams
	b.mu.Unlock()
	if s == nil {
		return fmt.Errorf("reload certificates: %w: the backend is not running", consensus.ErrInvalidArgument)
	}
	if err := s.reload(t); err != nil {
		return fmt.Errorf("reload certificates: %w", err)
	}
	return nil
}

// Stop closes the group, waiting for proposals in flight until ctx ends.
func (b *backend) Stop(ctx context.Context) error {
	b.mu.Lock()
	g, s := b.group, b.streams
	b.stopped = true
	b.mu.Unlock()
	if g != nil {
		if err := g.close(ctx); err != nil {
			return err
		}
	}
	if s == nil {
		return nil
	}
	return s.Close()
}
