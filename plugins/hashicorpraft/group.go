package hashicorpraft

import (
	"context"
	"errors"
	"fmt"
	"io"
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
// Three goroutines belong to it: watch turns the library's state into
// Leadership, by level; submit hands proposals to the library in order;
// complete answers them in that order. Everything else is the library's.
type group struct {
	b    *backend
	spec consensus.GroupSpec
	dir  string

	store     *store
	snapshots *snapshots
	transport *raft.NetworkTransport
	raft      *raft.Raft

	observed    chan raft.Observation // wakes watch
	stopWatch   chan struct{}
	running     sync.WaitGroup // watch and submit
	queue       chan proposal
	completions chan flight
	completed   chan struct{}
	verifying   chan struct{} // slots
	saving      sync.Mutex    // one SaveSnapshot at a time
	closing     sync.Once
	closeErr    error

	lastTurn                    atomic.Int64 // of watch, unix nanoseconds
	committed, rejected, unsure atomic.Uint64

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
		b: b, spec: spec, dir: filepath.Join(b.cfg.DataDir, fmt.Sprintf("group-%d", spec.ID)),
		observed: make(chan raft.Observation, 16), stopWatch: make(chan struct{}),
		queue: make(chan proposal, maxInflight), completions: make(chan flight, maxInflight), completed: make(chan struct{}),
		verifying: make(chan struct{}, maxReadIndexes), flights: map[*flightState]struct{}{},
		led: make(chan struct{}), more: make(chan struct{}), wantedCh: make(chan struct{}),
	}
	g.lastTurn.Store(time.Now().UnixNano())
	return g
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
func (g *group) installed(index, term uint64) {
	g.store.install(index, term)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes = 0
	g.advanceLocked(index)
	g.wantSnapshotLocked()
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
	entries, err := g.entries(from, commit, maxBytes)
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

// entries reads from to at most last, at least one, then up to maxBytes.
func (g *group) entries(from, last uint64, maxBytes int) ([]consensus.Entry, error) {
	var entries []consensus.Entry
	for index := from; index <= last; index++ {
		var l raft.Log
		if err := g.store.wal.GetLog(index, &l); err != nil {
			if len(entries) > 0 {
				break // the next call learns why
			}
			return nil, fmt.Errorf("read entry %d: %w", index, err)
		}
		maxBytes -= len(l.Data)
		if len(entries) > 0 && maxBytes < 0 {
			break
		}
		e := consensus.Entry{Index: l.Index, Term: l.Term, Internal: l.Type != raft.LogCommand}
		if !e.Internal {
			e.Data = l.Data
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// ReadIndex takes the commit index first and then has a quorum confirm that
// this node still leads, in a term in which it has committed something.
func (g *group) ReadIndex(ctx context.Context) (index, term uint64, err error) {
	before, _ := g.Leadership()
	switch {
	case before.Role == consensus.Leader:
		return 0, 0, consensus.ErrLeaderNotReady
	case before.Role != consensus.LeaderReady:
		return 0, 0, consensus.ErrNotLeader
	}
	select {
	case g.verifying <- struct{}{}:
	default:
		return 0, 0, consensus.ErrOverloaded
	}
	index = g.raft.CommitIndex()
	verified := make(chan error, 1)
	go func() {
		defer func() { <-g.verifying }()
		verified <- g.raft.VerifyLeader().Error()
	}()
	select {
	case err = <-verified:
	case <-ctx.Done():
		return 0, 0, fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", consensus.ErrNotLeader, err)
	}
	if g.raft.State() != raft.Leader || g.raft.CurrentTerm() != before.Term {
		return 0, 0, consensus.ErrNotLeader
	}
	return index, before.Term, nil
}

func (g *group) Members() consensus.Membership {
	f := g.raft.GetConfiguration()
	if f.Error() != nil {
		return consensus.Membership{}
	}
	m := consensus.Membership{ConfigIndex: f.Index()}
	for _, s := range f.Configuration().Servers {
		member := consensus.Member{ReplicaID: replicaID(s.ID), Address: string(s.Address), Role: consensus.Voter}
		if s.Suffrage != raft.Voter {
			member.Role = consensus.LearnerMember
		}
		for _, known := range g.spec.Members {
			if known.ReplicaID == member.ReplicaID {
				member.BrokerID = known.BrokerID
			}
		}
		m.Members = append(m.Members, member)
	}
	return m
}

// Status has no peers: the library does not tell how far each is.
func (g *group) Status() consensus.Status {
	first, err := g.store.firstReadable()
	if err != nil {
		first = 0 // unknown; the process is about to end
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return consensus.Status{
		Leadership: g.leadership, FirstIndex: first, LastIndex: g.raft.LastIndex(), CommitIndex: g.commit,
		SnapshotIndex: g.store.snapshotIndex(), LogBytes: g.bytes, LeaderChanges: g.changes,
		Committed: g.committed.Load(), Rejected: g.rejected.Load(), UnknownTotal: g.unsure.Load(),
	}
}

// LoopAge tells when the library's state was last looked at, and since when it
// writes.
func (g *group) LoopAge() (loop, sync time.Duration) {
	now := time.Now().UnixNano()
	if since := g.store.writing.Load(); since != 0 {
		sync = time.Duration(now - since)
	}
	return time.Duration(now - g.lastTurn.Load()), sync
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
