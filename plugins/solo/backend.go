package solo

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/quorate/quorate/consensus"
)

// limits: the SDK checks every proposal against them before it comes here.
var limits = consensus.Limits{
	MaxGroups: 1, MaxMembers: 1, MaxProposalBytes: 4 << 20, MaxInflightProposals: 4096, MaxInflightBytes: 64 << 20,
}

// New returns a backend that has not been started.
func New() consensus.Backend { return &backend{} }

type backend struct {
	mu    sync.Mutex
	cfg   consensus.StartConfig
	group *group // nil if none is open
}

func (b *backend) Describe() consensus.Description {
	return consensus.Description{
		Backend: "solo", Version: "1", Limits: limits,
		// One node can not be divided from itself.
		Capabilities: []consensus.Capability{consensus.CapPreVote, consensus.CapCheckQuorum},
		ConfigSchema: json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`),
	}
}

// Validate knows no options: every key is a problem.
func (b *backend) Validate(options json.RawMessage) []consensus.Diagnostic {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(options, &keys); err != nil && len(options) > 0 {
		return []consensus.Diagnostic{{Message: "the options are not a JSON object: " + err.Error()}}
	}
	var problems []consensus.Diagnostic
	for k := range keys {
		problems = append(problems, consensus.Diagnostic{Path: k, Message: "solo has no options"})
	}
	return problems
}

func (b *backend) Start(_ context.Context, cfg consensus.StartConfig) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cfg.DataDir != "" || cfg.ReplicaID == consensus.NoLeader || cfg.DataDir == "" {
		return fmt.Errorf("start: %w: once, with a replica id and a data directory", consensus.ErrInvalidArgument)
	}
	if p := b.Validate(cfg.Options); len(p) > 0 {
		return fmt.Errorf("start: %w: option %q: %s", consensus.ErrInvalidArgument, p[0].Path, p[0].Message)
	}
	b.cfg = cfg
	return nil
}

// BoundPeerAddress is empty: there are no peers.
func (b *backend) BoundPeerAddress() string { return "" }

func (b *backend) OpenGroup(_ context.Context, spec consensus.GroupSpec) (consensus.Group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.group != nil {
		err := consensus.ErrGroupLimit
		if b.group.spec.ID == spec.ID {
			err = consensus.ErrGroupExists
		}
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	g, err := openGroup(b, spec)
	if err != nil {
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	b.group = g
	return g, nil
}

// Stop closes the group.
func (b *backend) Stop(context.Context) error {
	b.mu.Lock()
	g := b.group
	b.mu.Unlock()
	if g == nil {
		return nil
	}
	return g.Close()
}
