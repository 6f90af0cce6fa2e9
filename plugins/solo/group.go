package solo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
)

const (
	defaultRequestEntries = 10_000
	defaultRequestBytes   = 64 << 20
	idleTurn              = 500 * time.Millisecond
)

// group is one log. One goroutine, write, owns its file: it takes everything
// that was proposed meanwhile, writes and syncs it at once, and then answers.
type group struct {
	b    *backend
	spec consensus.GroupSpec
	dir  string
	term uint64
	done chan struct{} // closed when write has returned

	saving sync.Mutex // one SaveSnapshot at a time

	mu           sync.RWMutex
	journal      *journal // replaced by write under mu; read under its read lock
	snapshot     consensus.SnapshotMeta
	pending      []proposal
	pendingBytes int
	compactTo    uint64 // asked of write; 0 = nothing
	closed       bool
	failed       error
	leadership   consensus.Leadership
	wanted       uint64
	wake         chan struct{} // to write; one token

	// Closed and replaced at each change: of the log's end, the leadership, wanted.
	appended, led, wantedCh chan struct{}

	lastTurn, syncSince         atomic.Int64 // unix nanoseconds
	committed, rejected, unsure atomic.Uint64
}

type proposal struct {
	data []byte
	done func(consensus.Result)
}

// openGroup recovers the group and begins a new term. When it returns, the
// term's first entry is durable, so that this node leads and is ready.
func openGroup(b *backend, spec consensus.GroupSpec) (*group, error) {
	g := &group{
		b: b, spec: spec, dir: filepath.Join(b.cfg.DataDir, fmt.Sprintf("group-%d", spec.ID)),
		done: make(chan struct{}), wake: make(chan struct{}, 1),
		appended: make(chan struct{}), led: make(chan struct{}), wantedCh: make(chan struct{}),
	}
	if g.spec.Tuning.SnapshotRequestEntries == 0 {
		g.spec.Tuning.SnapshotRequestEntries = defaultRequestEntries
	}
	if g.spec.Tuning.SnapshotRequestBytes == 0 {
		g.spec.Tuning.SnapshotRequestBytes = defaultRequestBytes
	}
	if err := g.recover(); err != nil {
		return nil, err
	}
	g.term = max(g.journal.term(), g.snapshot.Term) + 1
	noop := consensus.Entry{Index: g.journal.last() + 1, Term: g.term, Internal: true}
	commit, err := g.journal.write([]consensus.Entry{noop})
	if err != nil {
		return nil, errors.Join(consensus.ErrStorageFailed, err, g.journal.f.Close())
	}
	commit()
	g.leadership = consensus.Leadership{Term: g.term, Leader: b.cfg.ReplicaID, Role: consensus.LeaderReady, ReadyIndex: noop.Index}
	g.lastTurn.Store(time.Now().UnixNano())
	g.wantSnapshotLocked()
	go g.write()
	return g, nil
}

func (g *group) recover() error {
	path := filepath.Join(g.dir, "log")
	_, err := os.Stat(path)
	isNew := errors.Is(err, os.ErrNotExist)
	switch {
	case err != nil && !isNew:
		return err
	case isNew && g.spec.Mode == consensus.OpenRecover:
		return fmt.Errorf("%w: there is no data to recover in %s", consensus.ErrGroupNotFound, g.dir)
	case g.spec.Mode == consensus.OpenJoin:
		return fmt.Errorf("%w: solo joins nobody", consensus.ErrUnsupported)
	case isNew && (len(g.spec.Members) != 1 || g.spec.Members[0].ReplicaID != g.b.cfg.ReplicaID):
		return fmt.Errorf("%w: solo is one node: the members must be replica %d alone", consensus.ErrInvalidArgument, g.b.cfg.ReplicaID)
	}
	if err := errors.Join(os.MkdirAll(g.dir, 0o700), syncDir(g.b.cfg.DataDir)); err != nil {
		return err
	}
	if g.snapshot, _, err = newestSnapshot(g.dir); err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
	}
	if isNew && g.snapshot.Index == 0 {
		g.journal, err = createJournal(path, 1, nil)
		return err
	}
	if g.journal, err = openJournal(path, g.snapshot.Index+1); err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
	}
	if g.journal.first > g.snapshot.Index+1 || g.journal.last() < g.snapshot.Index {
		return errors.Join(g.journal.f.Close(), fmt.Errorf("%w: the log has entries %d to %d, but the snapshot is at %d",
			consensus.ErrStorageFailed, g.journal.first, g.journal.last(), g.snapshot.Index))
	}
	return nil
}

func (g *group) Leadership() (consensus.Leadership, <-chan struct{}) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.leadership, g.led
}

func (g *group) Propose(expectedTerm uint64, data []byte, done func(consensus.Result)) {
	if err := g.enqueue(expectedTerm, proposal{data, done}); err != nil {
		g.rejected.Add(1)
		done(consensus.Result{Outcome: consensus.Rejected, Err: err})
	}
}

func (g *group) enqueue(expectedTerm uint64, p proposal) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.failed != nil:
		return g.failed
	case g.closed:
		return consensus.ErrShuttingDown
	case expectedTerm != g.term:
		return fmt.Errorf("%w: it is %d, not %d", consensus.ErrTermMismatch, g.term, expectedTerm)
	case len(p.data) > maxProposalBytes:
		return fmt.Errorf("%w: %d bytes", consensus.ErrTooLarge, len(p.data))
	case len(g.pending) >= maxInflight || g.pendingBytes+len(p.data) > maxInflightBytes:
		return consensus.ErrOverloaded
	}
	g.pending, g.pendingBytes = append(g.pending, p), g.pendingBytes+len(p.data)
	g.wakeUp()
	return nil
}

func (g *group) wakeUp() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *group) Read(from uint64, maxBytes int) ([]consensus.Entry, uint64, <-chan struct{}, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	last := g.journal.last()
	switch {
	case g.closed:
		return nil, 0, nil, consensus.ErrShuttingDown
	case from < g.journal.first:
		return nil, last, nil, fmt.Errorf("read from %d, the log begins at %d: %w", from, g.journal.first, consensus.ErrCompacted)
	case from > last+1:
		return nil, last, nil, fmt.Errorf("read from %d, the log ends at %d: %w", from, last, consensus.ErrAheadOfLog)
	case from == last+1:
		return nil, last, g.appended, nil
	}
	entries, err := g.journal.readAt(from, maxBytes)
	return entries, last, nil, err
}

// ReadIndex needs no quorum: every finished write is in the log.
func (g *group) ReadIndex(context.Context) (index, term uint64, err error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return 0, 0, consensus.ErrShuttingDown
	}
	return g.journal.last(), g.term, nil
}

func (g *group) Members() consensus.Membership {
	return consensus.Membership{Members: []consensus.Member{{ReplicaID: g.b.cfg.ReplicaID, BrokerID: g.b.cfg.BrokerID, Role: consensus.Voter}}}
}

func (g *group) Status() consensus.Status {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return consensus.Status{
		Leadership: g.leadership, FirstIndex: g.journal.first, LastIndex: g.journal.last(), CommitIndex: g.journal.last(),
		SnapshotIndex: g.snapshot.Index, LogBytes: uint64(g.journal.end),
		Committed: g.committed.Load(), Rejected: g.rejected.Load(), UnknownTotal: g.unsure.Load(), LeaderChanges: 1,
	}
}

func (g *group) LoopAge() (loop, sync time.Duration) {
	now := time.Now().UnixNano()
	if since := g.syncSince.Load(); since != 0 {
		sync = time.Duration(now - since)
	}
	return time.Duration(now - g.lastTurn.Load()), sync
}

// Close answers what is pending, stops the writer and closes the file.
func (g *group) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		<-g.done
		return nil
	}
	g.closed = true
	g.leadership = consensus.Leadership{Term: g.term}
	close(g.led)
	g.led = make(chan struct{})
	close(g.appended)
	g.appended = make(chan struct{})
	g.wakeUp()
	g.mu.Unlock()
	<-g.done
	g.b.forget(g.spec.ID)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.journal.f.Close()
}

// Destroy closes the group and removes its data.
func (g *group) Destroy() error {
	if err := g.Close(); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(g.dir), syncDir(g.b.cfg.DataDir))
}
