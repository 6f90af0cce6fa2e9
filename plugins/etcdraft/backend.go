package etcdraft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/peertls"
	"github.com/quorate/quorate/plugins/seglog"
)

const (
	name       = "etcd-raft"
	version    = "1"
	maxGroups  = 256
	maxMembers = 9
)

// Backend is the backend "etcd-raft". All groups of the process share its log,
// its writer and its connections.
type Backend struct {
	exit func(code int)
	fs   seglog.FS

	cfg       consensus.StartConfig
	options   Options
	timing    timing
	log       *slog.Logger
	fatal     *fataler
	store     *seglog.Log
	writer    *writer
	transport *transport
	stopWrite context.CancelFunc
	written   chan struct{} // closed when the writer has ended

	mu      sync.RWMutex
	groups  map[uint64]*group
	started bool
	stopped bool
}

var (
	_ consensus.Backend     = (*Backend)(nil)
	_ consensus.TLSReloader = (*Backend)(nil)
)

// New returns a backend that logs to slog.Default and ends the process when its
// storage fails (exit code 74) or raft finds itself broken (70).
func New() consensus.Backend { return newBackend(os.Exit, seglog.OS()) }

func newBackend(exit func(int), fs seglog.FS) *Backend {
	return &Backend{exit: exit, fs: fs, groups: make(map[uint64]*group)}
}

// Describe implements consensus.Backend.
func (b *Backend) Describe() consensus.Description {
	return consensus.Description{
		Backend: name, Version: version,
		Capabilities: []consensus.Capability{
			consensus.CapMultiGroup, consensus.CapPreVote, consensus.CapCheckQuorum,
			consensus.CapLeaderTransfer, consensus.CapFollowerReadIndex, consensus.CapTLSReload,
		},
		Limits: consensus.Limits{
			MaxGroups: maxGroups, MaxMembers: maxMembers, MaxProposalBytes: maxProposalBytes,
			MaxInflightProposals: maxInflightProposals, MaxInflightBytes: maxInflightBytes,
		},
		ConfigSchema: optionsSchema(),
	}
}

// Validate implements consensus.Backend.
func (b *Backend) Validate(options json.RawMessage) []consensus.Diagnostic {
	_, problems := parseOptions(options)
	return problems
}

// Start implements consensus.Backend.
func (b *Backend) Start(_ context.Context, cfg consensus.StartConfig) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started {
		return fmt.Errorf("%w: started already", consensus.ErrInvalidArgument)
	}
	options, problems := parseOptions(cfg.Options)
	if err := optionsError(problems); err != nil {
		return err
	}
	if cfg.ReplicaID == consensus.NoLeader || cfg.ReplicaID > maxIndex {
		return fmt.Errorf("%w: replica id %d", consensus.ErrInvalidArgument, cfg.ReplicaID)
	}
	b.cfg, b.options = cfg, options
	var err error
	if b.timing, err = newTiming(cfg.Timing); err != nil {
		return err
	}
	b.log = slog.Default().With("component", name, "replica", cfg.ReplicaID)
	b.fatal = &fataler{log: b.log, exit: b.exit}
	if b.transport, err = newTransport(cfg, int(options.PeerQueueLength), b, b.log); err != nil {
		return err
	}
	if b.store, err = b.openLog(); err != nil {
		b.transport.stop()
		return err
	}
	b.writer = newWriter(b.store, b.fatal)
	ctx, cancel := context.WithCancel(context.Background())
	b.stopWrite, b.written = cancel, make(chan struct{})
	go func() {
		defer close(b.written)
		b.writer.run(ctx)
	}()
	b.transport.start()
	b.started = true
	return nil
}

func (b *Backend) openLog() (*seglog.Log, error) {
	dir := filepath.Join(b.cfg.DataDir, "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create log directory: %w", err)
	}
	if err := seglog.OS().SyncDir(b.cfg.DataDir); err != nil {
		return nil, fmt.Errorf("sync data directory: %w", err)
	}
	cfg := seglog.DefaultConfig()
	cfg.SegmentBytes, cfg.CacheBytes = b.options.LogSegmentBytes, b.options.LogCacheBytes
	return seglog.Open(dir, cfg, b.fs, b.log)
}

func (b *Backend) snapshotDir(group uint64) string {
	return filepath.Join(b.cfg.DataDir, "snapshots", strconv.FormatUint(group, 10))
}

// BoundPeerAddress implements consensus.Backend.
func (b *Backend) BoundPeerAddress() string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.transport == nil {
		return ""
	}
	return b.transport.listener.Addr().String()
}

// OpenGroup implements consensus.Backend.
func (b *Backend) OpenGroup(_ context.Context, spec consensus.GroupSpec) (consensus.Group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.started || b.stopped:
		return nil, consensus.ErrShuttingDown
	case spec.ID == 0:
		return nil, fmt.Errorf("%w: group id 0", consensus.ErrInvalidArgument)
	case b.groups[uint64(spec.ID)] != nil:
		return nil, consensus.ErrGroupExists
	case len(b.groups) >= maxGroups:
		return nil, consensus.ErrGroupLimit
	}
	c, err := b.prepare(spec)
	if err != nil {
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	g, err := newGroup(b, spec, c)
	if err != nil {
		return nil, fmt.Errorf("open group %d: %w", spec.ID, err)
	}
	b.groups[g.id] = g
	b.learn(c)
	g.workers.Go(g.run)
	return g, nil
}

// prepare returns the configuration that the group starts with: that of its
// newest snapshot, or of its first members. A new group's is written to the log
// before anything else.
func (b *Backend) prepare(spec consensus.GroupSpec) (config, error) {
	info, exists := b.store.Info(uint64(spec.ID))
	if exists {
		meta, err := parseSnapshotMeta(info.Mark.Data)
		c := meta.Config
		for _, m := range spec.Members { // the host may know newer addresses
			if c.has(m.ReplicaID) {
				c = c.withMember(m)
			}
		}
		return c, err
	}
	var c config
	switch spec.Mode {
	case consensus.OpenBootstrap:
		var err error
		if c, err = bootstrapConfig(b.cfg.ReplicaID, spec.Members); err != nil {
			return config{}, err
		}
	case consensus.OpenJoin:
	case consensus.OpenRecover:
		return config{}, fmt.Errorf("%w: there is no data to recover the group from", consensus.ErrDataIncompatible)
	default:
		return config{}, fmt.Errorf("%w: open mode %d", consensus.ErrInvalidArgument, spec.Mode)
	}
	data, err := snapshotMeta{Config: c}.encode()
	if err != nil {
		return config{}, err
	}
	return c, b.store.Append(true, seglog.Write{Group: uint64(spec.ID), Mark: &seglog.Mark{Data: data}})
}

// learn tells the transport where the members of a configuration are.
func (b *Backend) learn(c config) {
	for _, m := range c.Members {
		if m.Address != "" {
			b.transport.setPeer(m.ReplicaID, m.Address)
		}
	}
}

// learnMissing is learn for a configuration that another replica sent: what the
// host of this one said of addresses counts more.
func (b *Backend) learnMissing(c config) {
	for _, m := range c.Members {
		if m.Address != "" && b.transport.peer(m.ReplicaID) == nil {
			b.transport.setPeer(m.ReplicaID, m.Address)
		}
	}
}

func (b *Backend) group(id uint64) *group {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.groups[id]
}

func (b *Backend) peerUnreachable(peer uint64) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, g := range b.groups {
		g.inbox.reportUnreachable(peer)
	}
}

func (b *Backend) forget(g *group) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.groups[g.id] == g {
		delete(b.groups, g.id)
	}
}

// ReloadPeerTLS implements consensus.TLSReloader.
func (b *Backend) ReloadPeerTLS(settings consensus.PeerTLS) error {
	if _, err := peertls.Server(&settings); err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrInvalidArgument, err)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if !b.started || b.transport.tls.Load() == nil {
		return fmt.Errorf("%w: peers talk plaintext", consensus.ErrUnsupported)
	}
	b.transport.tls.Store(&settings)
	return nil
}

// Stop implements consensus.Backend: no more messages, then no more entries,
// then the log is closed.
func (b *Backend) Stop(context.Context) error {
	b.mu.Lock()
	if !b.started || b.stopped {
		b.mu.Unlock()
		return nil
	}
	b.stopped = true
	groups := make([]*group, 0, len(b.groups))
	for _, g := range b.groups {
		groups = append(groups, g)
	}
	clear(b.groups)
	b.mu.Unlock()
	for _, g := range groups {
		g.cancel()
	}
	b.transport.stop()
	for _, g := range groups {
		g.stop()
	}
	b.stopWrite()
	<-b.written
	if err := b.store.Close(); err != nil && !errors.Is(err, consensus.ErrShuttingDown) {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

// timing is the host's wish in raft's ticks.
type timing struct {
	tick, heartbeat, election     time.Duration
	heartbeatTicks, electionTicks int
}

// newTiming makes a tick a fifth of a heartbeat, and at most a tenth of an
// election timeout: raft spreads elections by whole ticks.
func newTiming(t consensus.Timing) (timing, error) {
	defaults := consensus.DefaultTiming()
	if t.Heartbeat == 0 {
		t.Heartbeat = defaults.Heartbeat
	}
	if t.ElectionTimeout == 0 {
		t.ElectionTimeout = defaults.ElectionTimeout
	}
	if t.Heartbeat < time.Millisecond || t.ElectionTimeout < 2*t.Heartbeat || t.ElectionTimeout > time.Hour {
		return timing{}, fmt.Errorf("%w: heartbeat %s and election timeout %s; the timeout must be at least twice the heartbeat",
			consensus.ErrInvalidArgument, t.Heartbeat, t.ElectionTimeout)
	}
	tick := max(min(t.Heartbeat/5, t.ElectionTimeout/10), time.Millisecond)
	r := timing{tick: tick, heartbeat: t.Heartbeat, election: t.ElectionTimeout}
	r.heartbeatTicks = max(int(t.Heartbeat/tick), 1)
	r.electionTicks = max(int(t.ElectionTimeout/tick), r.heartbeatTicks+1)
	return r, nil
}

// withDefaults fills in what the host left open.
func withDefaults(t consensus.GroupTuning) consensus.GroupTuning {
	set := func(v *uint64, otherwise uint64) {
		if *v == 0 {
			*v = otherwise
		}
	}
	set(&t.RetainEntries, 10_000)
	set(&t.RetainBytes, 64<<20)
	set(&t.SnapshotRequestEntries, 50_000)
	set(&t.SnapshotRequestBytes, 64<<20)
	return t
}
