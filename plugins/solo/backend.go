package solo

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/options"
)

// limits: the SDK checks every proposal against them before it comes here.
var limits = consensus.Limits{
	MaxGroups: 1, MaxMembers: 1, MaxProposalBytes: 4 << 20, MaxInflightProposals: 4096, MaxInflightBytes: 64 << 20,
}

// settings are the backend's own: there are none yet. The package options tells
// how to declare some.
func settings() *options.Set { return &options.Set{} }

// New returns a backend that has not been started.
func New() consensus.Backend { return &backend{} }

// backend has no lock: the SDK starts it, opens groups and stops it one at a time.
type backend struct {
	cfg   consensus.StartConfig
	group *group // nil if none was opened
}

func (b *backend) Describe() consensus.Description {
	return consensus.Description{
		Backend: "solo", Version: "1", Limits: limits, ConfigSchema: settings().Schema(),
		// One node can not be divided from itself.
		Capabilities: []consensus.Capability{consensus.CapPreVote, consensus.CapCheckQuorum},
	}
}

func (b *backend) Validate(raw json.RawMessage) []consensus.Diagnostic { return settings().Read(raw) }

func (b *backend) Start(_ context.Context, cfg consensus.StartConfig) error {
	if cfg.DataDir == "" {
		return fmt.Errorf("%w: no data directory", consensus.ErrInvalidArgument)
	}
	b.cfg = cfg
	return options.Error(b.Validate(cfg.Options))
}

// BoundPeerAddress is empty: there are no peers.
func (b *backend) BoundPeerAddress() string { return "" }

func (b *backend) OpenGroup(_ context.Context, spec consensus.GroupSpec) (_ consensus.Group, err error) {
	self := consensus.Member{ReplicaID: b.cfg.ReplicaID, BrokerID: b.cfg.BrokerID, Role: consensus.Voter}
	if b.group, err = openGroup(filepath.Join(b.cfg.DataDir, fmt.Sprintf("group-%d", spec.ID)), self, spec); err != nil {
		return nil, err
	}
	return b.group, nil
}

// Stop closes the group; one that is closed already stays so.
func (b *backend) Stop(context.Context) error {
	if b.group == nil {
		return nil
	}
	return b.group.Close()
}
