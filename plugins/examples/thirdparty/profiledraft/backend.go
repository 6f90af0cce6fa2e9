package profiledraft

import (
	"context"
	"encoding/json"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/options"
	"github.com/quorate/quorate/plugins/etcdraft"
)

// New returns a backend that has not been started.
func New() consensus.Backend { return &backend{Backend: etcdraft.New()} }

// backend is etcdraft, but for its name and its settings.
type backend struct{ consensus.Backend }

// Describe implements consensus.Backend.
func (b *backend) Describe() consensus.Description {
	d := b.Backend.Describe()
	d.Backend, d.Version, d.ConfigSchema = "profiled-raft", "0.1.0", schema()
	return d
}

// Validate implements consensus.Backend.
func (b *backend) Validate(options json.RawMessage) []consensus.Diagnostic {
	_, problems := translate(options)
	return problems
}

// Start implements consensus.Backend.
func (b *backend) Start(ctx context.Context, cfg consensus.StartConfig) error {
	translated, problems := translate(cfg.Options)
	if err := options.Error(problems); err != nil {
		return err
	}
	cfg.Options = translated
	return b.Backend.Start(ctx, cfg)
}

// ReloadPeerTLS implements consensus.TLSReloader.
func (b *backend) ReloadPeerTLS(tls consensus.PeerTLS) error {
	r, ok := b.Backend.(consensus.TLSReloader)
	if !ok {
		return consensus.ErrUnsupported
	}
	return r.ReloadPeerTLS(tls)
}

// Metrics implements consensus.Metricser.
func (b *backend) Metrics() []consensus.Metric {
	m, ok := b.Backend.(consensus.Metricser)
	if !ok {
		return nil
	}
	return m.Metrics()
}
