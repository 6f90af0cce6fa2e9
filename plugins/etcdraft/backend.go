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
	"sync/atomic"

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

	published atomic.Pointer[published]

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
			consensus.CapMultiGroup, consensus.CapLearners, consensus.CapJointConsensus,
			consensus.CapPreVote, consensus.CapCheckQuorum, consensus.CapLeaderTransfer, consensus.CapFollowerReadIndex, consensus.CapTLSReload,
		},
		Limits: consensus.Limits{
			MaxGroups: maxGroups, MaxMembers: maxMembers, MaxProposalBytes: maxProposalBytes,
			MaxInflightProposals: maxInflightProposals, MaxInflightBytes: maxInflightBytes,
		},
		ConfigSchema: optionsSchema(),
		PeerProtocol: helloVersion,
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
	b.publish()
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

func (b *Backend) snapshotDir(group uint64) string { return snapshotDir(b.cfg.DataDir, group) }

func snapshotDir(dataDir string, group uint64) string {
	return filepath.Join(dataDir, "snapshots", strconv.FormatUint(group, 10))
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
		b.transport.forgetGroup(g.id)
		b.publish()
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
	b.publish()
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
