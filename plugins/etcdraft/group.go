package etcdraft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/watched"
	"github.com/quorate/quorate/plugins/seglog"
)

// group is one replicated log. One goroutine, the loop, owns the RawNode and
// what is marked as its own; everybody else goes through the inbox and reads
// what the loop publishes.
type group struct {
	id, self  uint64
	backend   *Backend
	log       *slog.Logger
	store     *storage
	snapshots snapshotStore
	tuning    consensus.GroupTuning
	hints     []consensus.Member // what the host says of addresses
	timing    timing
	inbox     *inbox
	inflight  budget

	ctx     context.Context // ends with the group
	cancel  context.CancelFunc
	workers sync.WaitGroup // the loop and the snapshot senders

	// The loop's own.
	node       *raft.RawNode
	pending    proposals
	reads      reads
	readyIndex uint64            // first committed entry of readyTerm
	readyTerm  uint64            // the newest term in which this replica led and committed
	durable    uint64            // term that is on stable storage
	handedOver seglog.State      // hard state last given to the writer
	lastIndex  uint64            // of raft's log
	readCtx    uint64            // highest read confirmation asked for in the term
	readTerm   uint64            // of readCtx
	arriving   *receivedSnapshot // stepped, not yet claimed by raft
	nextTick   time.Time
	nextStatus time.Time
	oddPeers   time.Time // when a message that cannot be was last logged
	candidacy  candidacy
	change     *memberChange
	jointUntil time.Time // then a joint configuration should be left
	guest      bool      // a learner for raft, but not added yet
	removedIn  uint64    // a configuration without this replica, as a peer says; 0 = none
	knockAt    time.Time // then a learner without a leader shows itself

	// Published.
	leadership watched.Value[consensus.Leadership]
	delivered  watched.Value[uint64] // committed and durable here
	wanted     watched.Value[uint64] // snapshot index, 0 = none
	lastTurn   atomic.Int64          // unix nanoseconds
	bytesSince atomic.Int64          // delivered since the last snapshot
	peerStatus atomic.Pointer[[]consensus.PeerStatus]
	committed  atomic.Uint64 // proposals by outcome
	rejected   atomic.Uint64
	unknown    atomic.Uint64
	changes    atomic.Uint64 // of the leader
	// leadersGone counts the leaders whose process was found to be gone.
	leadersGone atomic.Uint64
	receiving   atomic.Bool  // a snapshot
	logBytes    atomic.Int64 // as of the last heartbeat interval

	snapshotCounts snapshotCounts

	saveMu    sync.Mutex // one SaveSnapshot at a time
	mu        sync.Mutex
	history   history
	transfers map[uint64]transfer  // snapshots being sent, by peer
	budgets   map[uint64]*weighted // bytes received and not yet stepped, by peer
}

var _ consensus.Group = (*group)(nil)

func newGroup(b *Backend, spec consensus.GroupSpec, c config) (*group, error) {
	g := &group{
		id: uint64(spec.ID), self: b.cfg.ReplicaID, backend: b, timing: b.timing, tuning: withDefaults(spec.Tuning),
		hints:     slices.Clone(spec.Members),
		log:       b.log.With("group", uint64(spec.ID)),
		inbox:     newInbox(),
		inflight:  budget{maxCount: maxInflightProposals, maxBytes: maxInflightBytes},
		snapshots: snapshotStore{b.snapshotDir(uint64(spec.ID))},
		history:   history{c},
		transfers: make(map[uint64]transfer),
		budgets:   make(map[uint64]*weighted),
	}
	g.pending.waiting = make(map[uint64]proposal)
	g.store = &storage{log: b.store, group: g.id, fail: func(err error) { b.fatal.fatal(consensus.ExitStorage, err) }}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := g.openSnapshots(); err != nil {
		return nil, err
	}
	if err := g.newNode(); err != nil {
		return nil, err
	}
	return g, nil
}

// openSnapshots checks that the snapshot the log speaks of is there, and removes
// what a crash has left.
func (g *group) openSnapshots() error {
	if err := os.MkdirAll(g.snapshots.dir, 0o700); err != nil {
		return fmt.Errorf("create snapshot directory: %w", err)
	}
	info, _ := g.store.log.Info(g.id)
	if info.Mark.Index > 0 {
		if _, err := os.Stat(g.snapshots.path(info.Mark.Term, info.Mark.Index)); err != nil {
			return fmt.Errorf("%w: the log says that there is a snapshot: %w", consensus.ErrStorageFailed, err)
		}
	}
	return errors.Join(g.snapshots.cleanTemporary(), g.snapshots.removeOthers(info.Mark.Term, info.Mark.Index))
}

// newNode recovers raft's state. Raft is told that everything up to the snapshot
// is applied and delivers the rest again: that is how configurations behind it
// take effect.
func (g *group) newNode() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("group %d: recover raft: %v", g.id, p)
		}
	}()
	hard, _, err := g.store.InitialState()
	if err != nil {
		return err
	}
	info, _ := g.store.log.Info(g.id)
	g.durable, g.lastIndex = hard.GetTerm(), info.Last
	g.handedOver = seglog.State{Term: hard.GetTerm(), Vote: hard.GetVote()}
	g.node, err = raft.NewRawNode(g.backend.raftConfig(g.store, info.Mark.Index, g.log))
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	g.delivered.Set(info.Mark.Index)
	g.leadership.Set(consensus.Leadership{Term: g.durable, Role: g.passiveRole()})
	return nil
}

func (b *Backend) raftConfig(store raft.Storage, applied uint64, log *slog.Logger) *raft.Config {
	return &raft.Config{
		ID:                        b.cfg.ReplicaID,
		ElectionTick:              b.timing.electionTicks,
		HeartbeatTick:             b.timing.heartbeatTicks,
		Storage:                   store,
		Applied:                   applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             uint64(b.options.MaxMessageBytes),
		MaxCommittedSizePerReady:  4 << 20,
		MaxUncommittedEntriesSize: uint64(b.options.MaxUncommittedBytes),
		MaxInflightMsgs:           int(b.options.MaxInflightMsgs),
		MaxInflightBytes:          uint64(b.options.MaxInflightBytes),
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    raftLogger{log},
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
	}
}

// send gives a message to its peer's sender. Safe for the loop and the writer.
func (g *group) send(m *raftpb.Message) {
	if p := g.backend.transport.peer(m.GetTo()); p != nil {
		p.enqueue(g.id, m, g.inbox.reportUnreachable)
		return
	}
	g.inbox.reportUnreachable(m.GetTo())
}

// Read implements consensus.Group.
func (g *group) Read(from uint64, maxBytes int) ([]consensus.Entry, uint64, <-chan struct{}, error) {
	if g.ctx.Err() != nil {
		return nil, 0, nil, consensus.ErrShuttingDown
	}
	commit, changed := g.delivered.Get()
	info, _ := g.store.log.Info(g.id)
	switch {
	case from == 0:
		return nil, commit, nil, fmt.Errorf("%w: indexes begin at 1", consensus.ErrInvalidArgument)
	case from < info.First:
		return nil, commit, nil, fmt.Errorf("%w: the log begins at %d", consensus.ErrCompacted, info.First)
	case from > info.Last+1:
		return nil, commit, nil, fmt.Errorf("%w: at %d, want %d", consensus.ErrAheadOfLog, info.Last, from)
	case from > commit:
		return nil, commit, changed, nil
	}
	found, err := g.store.log.Entries(g.id, from, commit+1, int64(max(maxBytes, 1)))
	switch {
	case errors.Is(err, seglog.ErrCompacted):
		return nil, commit, nil, fmt.Errorf("%w: %w", consensus.ErrCompacted, err)
	case err != nil && g.ctx.Err() != nil:
		return nil, commit, nil, consensus.ErrShuttingDown
	case err != nil:
		g.store.fail(err)
		return nil, commit, nil, err
	}
	entries := make([]consensus.Entry, len(found))
	for i, e := range found {
		entries[i] = hostEntry(e)
	}
	return entries, commit, nil, nil
}

// configAt returns the group's configuration as of index.
func (g *group) configAt(index uint64) config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.history.at(index)
}

func (g *group) currentConfig() config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.history.current()
}

// Members implements consensus.Group.
func (g *group) Members() consensus.Membership { return g.currentConfig().membership() }

// Close implements consensus.Group. Proposals without an outcome are unknown.
func (g *group) Close() error {
	g.stop()
	g.backend.forget(g)
	return nil
}

// stop ends the loop and the transfers, and waits for what they gave the writer.
func (g *group) stop() {
	g.cancel()
	g.workers.Wait()
	g.failInbox()
	if err := g.backend.writer.do(g, nil); err != nil {
		g.log.Debug("wait for the writer", "error", err)
	}
}

// Destroy implements consensus.Group: the group's entries and snapshots are gone
// for good.
func (g *group) Destroy() error {
	g.stop()
	defer g.backend.forget(g)
	if err := g.backend.writer.do(g, &seglog.Write{Group: g.id, Delete: true}); err != nil {
		return err
	}
	return os.RemoveAll(g.snapshots.dir)
}
