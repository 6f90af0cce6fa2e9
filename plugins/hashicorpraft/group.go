package hashicorpraft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

const (
	defaultRetainEntries  = 5_000
	defaultRequestEntries = 10_000
	defaultRequestBytes   = 64 << 20
	maxReadIndexes        = 64 // at a time
)

// group is the one replicated log.
//
// Five goroutines belong to it: watch turns the library's state into
// Leadership, by level; pulse sees that the library's main loop turns; submit
// hands proposals to the library in order; complete answers them in that order;
// succeed makes an end of waiting for a leader that is gone.
// Everything else is the library's.
type group struct {
	b    *backend
	spec consensus.GroupSpec
	dir  string
	self raft.ServerID

	store     *store
	snapshots *snapshots
	peers     *peers
	transport *transport
	raft      *raft.Raft

	timing      raft.ReloadableConfig // what the library runs with, but for moments
	suspected   chan uint64           // a replica without connections, for succeed
	observed    chan raft.Observation // wakes watch
	stopWatch   chan struct{}
	running     sync.WaitGroup // watch, pulse, submit and succeed
	queue       chan proposal
	completions chan flight
	completed   chan struct{}
	verifying   chan struct{} // slots
	changing    chan struct{} // one change of members at a time
	failed      chan struct{} // closed when the group must be opened again
	failing     sync.Once
	saving      sync.Mutex // one SaveSnapshot at a time
	closing     sync.Once
	closeErr    error

	lastTurn, lastLook          atomic.Int64 // of the library's main loop, and of watch; unix nanoseconds
	committed, rejected, unsure atomic.Uint64
	leadersGone                 atomic.Uint64

	mu            sync.Mutex
	closed        bool
	leadership    consensus.Leadership
	changes       uint64
	commit        uint64 // highest index known to be committed and in the log here
	bytes         uint64 // committed since the newest snapshot, about
	wanted        uint64
	inflight      int
	inflightBytes int
	flights       map[*flightState]struct{}
	drained       chan struct{} // while it is not nil, proposals are rejected; closed when none is in flight

	// Closed and replaced at each change.
	led, more, wantedCh chan struct{}
}

func newGroup(b *backend, spec consensus.GroupSpec) *group {
	t := &spec.Tuning
	if t.RetainEntries == 0 {
		t.RetainEntries = defaultRetainEntries
	}
	if t.SnapshotRequestEntries == 0 {
		t.SnapshotRequestEntries = defaultRequestEntries
	}
	if t.SnapshotRequestBytes == 0 {
		t.SnapshotRequestBytes = defaultRequestBytes
	}
	g := &group{
		b: b, spec: spec, dir: groupDir(b.cfg.DataDir, spec.ID),
		suspected: make(chan uint64, 1),
		observed:  make(chan raft.Observation, 16), stopWatch: make(chan struct{}),
		queue: make(chan proposal, maxInflight), completions: make(chan flight, maxInflight), completed: make(chan struct{}),
		verifying: make(chan struct{}, maxReadIndexes), changing: make(chan struct{}, 1), failed: make(chan struct{}),
		self: serverID(b.cfg.ReplicaID, b.cfg.BrokerID), peers: newPeers(slog.Default().With("component", "raft", "consensus_group", uint64(spec.ID))), flights: map[*flightState]struct{}{},
		led: make(chan struct{}), more: make(chan struct{}), wantedCh: make(chan struct{}),
	}
	g.turned()
	g.lastLook.Store(time.Now().UnixNano())
	return g
}

func groupDir(dataDir string, g consensus.GroupID) string {
	return filepath.Join(dataDir, fmt.Sprintf("group-%d", g))
}

func (g *group) Leadership() (consensus.Leadership, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.leadership, g.led
}

// advance takes note that the log is committed up to index. The library's state
// machine calls it, and must not wait.
func (g *group) advance(index, bytes uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes += bytes
	g.advanceLocked(index)
}

func (g *group) advanceLocked(index uint64) {
	if index <= g.commit {
		return
	}
	g.commit = index
	close(g.more)
	g.more = make(chan struct{})
	g.wantSnapshotLocked()
}

// installed takes over a snapshot that the leader sent and that is stored.
func (g *group) installed(m raft.SnapshotMeta) {
	if !g.store.install(m.Index, m.Term, configuration{m.Configuration, m.ConfigurationIndex}) {
		g.failing.Do(func() { close(g.failed) })
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes = 0
	g.advanceLocked(m.Index)
	g.wantSnapshotLocked()
}

var _ consensus.Failer = (*group)(nil)

// Failed implements consensus.Failer.
func (g *group) Failed() <-chan struct{} { return g.failed }

// Err implements consensus.Failer. There is one reason: see store.install.
func (g *group) Err() error {
	select {
	case <-g.failed:
		return errors.New("the group must be opened again: a snapshot was installed below a change of members")
	default:
		return nil
	}
}

// Read delivers from the log store. What is committed in it never changes, so
// nothing is locked meanwhile; only compaction may take it away.
func (g *group) Read(from uint64, maxBytes int) ([]consensus.Entry, uint64, <-chan struct{}, error) {
	g.mu.Lock()
	commit, more, closed := g.commit, g.more, g.closed
	g.mu.Unlock()
	if closed {
		return nil, 0, nil, consensus.ErrShuttingDown
	}
	if err := g.compacted(from); err != nil {
		return nil, commit, nil, err
	}
	if from > commit {
		if last := max(g.raft.LastIndex(), commit); from > last+1 {
			return nil, commit, nil, fmt.Errorf("read from %d, the log ends at %d: %w", from, last, consensus.ErrAheadOfLog)
		}
		return nil, commit, more, nil
	}
	entries, err := g.store.entries(from, commit, maxBytes)
	if errors.Is(err, raft.ErrLogNotFound) { // it was there a moment ago
		err = errors.Join(g.compacted(from), err)
	}
	return entries, commit, nil, err
}

// compacted returns ErrCompacted if the log begins above from.
func (g *group) compacted(from uint64) error {
	first, err := g.store.firstReadable()
	if err != nil {
		return err
	}
	if from < first {
		return fmt.Errorf("read from %d, the log begins at %d: %w", from, first, consensus.ErrCompacted)
	}
	return nil
}

// Status of a leader has its peers; that of a follower, the leader alone.
func (g *group) Status() consensus.Status {
	first, err := g.store.firstReadable()
	if err != nil {
		first = 0 // unknown; the process is about to end
	}
	l, _ := g.Leadership()
	peers := g.peerStatus(l)
	g.mu.Lock()
	defer g.mu.Unlock()
	return consensus.Status{
		Leadership: l, FirstIndex: first, LastIndex: g.raft.LastIndex(), CommitIndex: g.commit,
		SnapshotIndex: g.store.snapshotIndex(), LogBytes: g.bytes, LeaderChanges: g.changes,
		Committed: g.committed.Load(), Rejected: g.rejected.Load(), UnknownTotal: g.unsure.Load(), Peers: peers,
	}
}

func (g *group) peerStatus(l consensus.Leadership) []consensus.PeerStatus {
	contact := g.raft.LastContact()
	switch {
	case l.Role == consensus.Leader || l.Role == consensus.LeaderReady:
		return g.peers.status(g.store.configuration().Servers, g.self, l.Term)
	case l.Leader == consensus.NoLeader || contact.IsZero():
		return nil
	}
	return []consensus.PeerStatus{{ReplicaID: l.Leader, LastContact: time.Since(contact), State: "leader"}}
}

func (g *group) Snapshot(context.Context) (consensus.SnapshotMeta, io.ReadCloser, error) {
	return g.snapshots.open()
}

func (g *group) SnapshotWanted() (minIndex uint64, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wanted, g.wantedCh
}

// Destroy closes the group and removes its data.
func (g *group) Destroy() error {
	if err := g.Close(); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(g.dir), syncDir(g.b.cfg.DataDir))
}
