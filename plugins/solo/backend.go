package solo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/quorate/quorate/consensus"
)

const (
	maxGroups        = 64
	maxProposalBytes = 4 << 20
	maxInflight      = 4096
	maxInflightBytes = 64 << 20
)

// New returns a backend that has not been started.
func New() consensus.Backend { return newBackend() }

func newBackend() *backend {
	return &backend{groups: map[consensus.GroupID]*group{}, fatal: func(err error) {
		slog.Error("the log can not be written", "error", err)
		os.Exit(consensus.ExitStorage)
	}}
}

type backend struct {
	fatal func(error) // ends the process; tests replace it

	mu      sync.Mutex
	cfg     consensus.StartConfig
	started bool
	groups  map[consensus.GroupID]*group
}

func (b *backend) Describe() consensus.Description {
	return consensus.Description{
		Backend: "solo", Version: "1",
		// One node can not be divided from itself, so it has the last two.
		Capabilities: []consensus.Capability{consensus.CapMultiGroup, consensus.CapPreVote, consensus.CapCheckQuorum},
		Limits: consensus.Limits{
			MaxGroups: maxGroups, MaxMembers: 1, MaxProposalBytes: maxProposalBytes,
			MaxInflightProposals: maxInflight, MaxInflightBytes: maxInflightBytes,
		},
		ConfigSchema: json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`),
	}
}

// Validate knows no options: every key is a problem.
func (b *backend) Validate(options json.RawMessage) []consensus.Diagnostic {
	if len(bytes.TrimSpace(options)) == 0 {
		return nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(options, &keys); err != nil {
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
	switch {
	case b.started:
		return fmt.Errorf("start: %w: it was started before", consensus.ErrInvalidArgument)
	case cfg.ReplicaID == consensus.NoLeader || cfg.DataDir == "":
		return fmt.Errorf("start: %w: a replica id and a data directory are needed", consensus.ErrInvalidArgument)
	}
	if p := b.Validate(cfg.Options); len(p) > 0 {
		return fmt.Errorf("start: %w: option %q: %s", consensus.ErrInvalidArgument, p[0].Path, p[0].Message)
	}
	b.cfg, b.started = cfg, true
	return nil
}

// BoundPeerAddress is empty: there are no peers.
func (b *backend) BoundPeerAddress() string { return "" }

func (b *backend) OpenGroup(_ context.Context, spec consensus.GroupSpec) (consensus.Group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.started:
		return nil, fmt.Errorf("open group %d: %w: the backend was not started", spec.ID, consensus.ErrInvalidArgument)
	case b.groups[spec.ID] != nil:
		return nil, fmt.Errorf("open group %d: %w", spec.ID, consensus.ErrGroupExists)
	case len(b.groups) >= maxGroups:
		return nil, fmt.Errorf("open group %d: %w: %d are open", spec.ID, consensus.ErrGroupLimit, maxGroups)
	}
	g, err := openGroup(b, spec)
	if err != nil {
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	b.groups[spec.ID] = g
	return g, nil
}

func (b *backend) forget(id consensus.GroupID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.groups, id)
}

func (b *backend) Stop(context.Context) error {
	b.mu.Lock()
	groups := make([]*group, 0, len(b.groups))
	for _, g := range b.groups {
		groups = append(groups, g)
	}
	b.mu.Unlock()
	for _, g := range groups {
		if err := g.Close(); err != nil {
			return err
		}
	}
	return nil
}
