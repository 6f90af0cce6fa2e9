package solo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
)

// group is the log. One goroutine, write, owns the file.
type group struct {
	b           *backend
	spec        consensus.GroupSpec
	path        string
	term, ready uint64        // ready is the term's first entry
	queue       chan work     // to write; closed by Close
	done        chan struct{} // closed when write has returned
	busy        atomic.Int64  // unix nanoseconds since which write is at work, or 0

	mu      sync.Mutex
	journal *journal // changed by write alone
	closed  bool     // nothing is queued any more
	failed  error    // of a write; nothing is written any more
	wanted  uint64
	changed chan struct{} // closed and replaced at every change
}

// work is a proposal or, if save is not nil, a snapshot.
type work struct {
	data []byte
	save *consensus.SnapshotMeta
	done func(consensus.Result)
}

// openGroup recovers the log and begins a new term. When it returns, the term's
// first entry is durable, so that this node leads and is ready.
func openGroup(b *backend, spec consensus.GroupSpec) (*group, error) {
	spec.Tuning.SnapshotRequestEntries = cmp.Or(spec.Tuning.SnapshotRequestEntries, 10_000)
	spec.Tuning.SnapshotRequestBytes = cmp.Or(spec.Tuning.SnapshotRequestBytes, 64<<20)
	g := &group{
		b: b, spec: spec, path: filepath.Join(b.cfg.DataDir, fmt.Sprintf("group-%d", spec.ID)),
		queue: make(chan work, limits.MaxInflightProposals), done: make(chan struct{}), changed: make(chan struct{}),
	}
	if err := g.recover(); err != nil {
		return nil, err
	}
	g.term = g.journal.term() + 1
	if err := g.append([]consensus.Entry{{Index: g.journal.last() + 1, Term: g.term, Internal: true}}); err != nil {
		return nil, errors.Join(err, g.journal.f.Close())
	}
	g.ready = g.journal.last()
	go g.write()
	return g, nil
}

func (g *group) recover() error {
	_, err := os.Stat(g.path)
	members := g.spec.Members
	switch {
	case g.spec.Mode == consensus.OpenJoin:
		return fmt.Errorf("%w: solo joins nobody", consensus.ErrUnsupported)
	case err == nil:
		g.journal, err = openJournal(g.path)
	case g.spec.Mode == consensus.OpenRecover:
		return fmt.Errorf("%w: nothing to recover: %w", consensus.ErrGroupNotFound, err)
	case len(members) != 1 || members[0].ReplicaID != g.b.cfg.ReplicaID:
		return fmt.Errorf("%w: solo is one node: the members must be replica %d alone", consensus.ErrInvalidArgument, g.b.cfg.ReplicaID)
	default:
		if g.journal, err = createJournal(g.path, consensus.SnapshotMeta{}, nil, nil); err == nil {
			err = errors.Join(os.Rename(g.journal.f.Name(), g.path), syncDir(g.b.cfg.DataDir))
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
	}
	return nil
}

// write takes everything that was proposed meanwhile, makes it durable with one
// write and one sync, and only then answers. After a failed write it writes no
// more, as nobody knows what is on the disk (rule S2): this batch is unknown.
func (g *group) write() {
	defer close(g.done)
	for first := range g.queue {
		g.busy.Store(time.Now().UnixNano())
		batch := []work{first}
		for n := len(g.queue); n > 0; n-- {
			batch = append(batch, <-g.queue)
		}
		var entries []consensus.Entry
		for _, w := range batch {
			if w.save == nil {
				entries = append(entries, consensus.Entry{Index: g.journal.last() + 1 + uint64(len(entries)), Term: g.term, Data: w.data})
			}
		}
		err := g.append(entries)
		for _, w := range batch {
			switch {
			case w.save != nil:
				w.done(consensus.Result{Err: g.save(*w.save, w.data)})
			case err != nil:
				w.done(consensus.Result{Err: err})
			default:
				w.done(consensus.Result{Outcome: consensus.Committed, Index: entries[0].Index})
				entries = entries[1:]
			}
		}
		g.busy.Store(0)
	}
}

// append makes entries durable, and then shows them to readers.
func (g *group) append(entries []consensus.Entry) error {
	if len(entries) == 0 || g.failed != nil {
		return g.failed
	}
	n, err := g.journal.append(entries)
	if err != nil {
		return g.fail(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.journal.end += n
	g.journal.entries = append(g.journal.entries, entries...)
	g.change()
	return nil
}

// save writes a new journal that begins with the snapshot, and has it take the
// old one's place. Nobody else needs what is below it. The term is the log's own:
// the next start leads in a later one.
func (g *group) save(m consensus.SnapshotMeta, content []byte) error {
	old, first, last := g.journal, g.journal.first(), g.journal.last()
	switch {
	case g.failed != nil:
		return g.failed
	case m.Index <= old.meta.Index:
		return fmt.Errorf("%w, at %d", consensus.ErrSnapshotStale, old.meta.Index)
	case m.Index > last:
		return fmt.Errorf("%w: the log ends at %d", consensus.ErrInvalidArgument, last)
	}
	m.Term = old.entries[m.Index-first].Term
	fresh, err := createJournal(g.path, m, content, old.entries[m.Index-first+1:])
	if err != nil {
		return err // the old one is as it was
	}
	g.mu.Lock()
	if err = os.Rename(fresh.f.Name(), g.path); err == nil {
		g.journal = fresh
		g.change()
	}
	g.mu.Unlock()
	return g.fail(errors.Join(err, syncDir(g.b.cfg.DataDir), old.f.Close()))
}

// fail ends the group if err is not nil.
func (g *group) fail(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.failed = fmt.Errorf("%w: %w", consensus.ErrStorageFailed, err)
		g.change()
	}
	return g.failed
}

// change tells everybody who waits, and decides whether a snapshot is wanted;
// once one is, that stays. Under mu.
func (g *group) change() {
	j, t := g.journal, g.spec.Tuning
	switch since := j.last() - j.meta.Index; {
	case since < t.SnapshotRequestEntries && uint64(j.end-j.content)-j.meta.Size < t.SnapshotRequestBytes:
		g.wanted = 0
	case g.wanted == 0:
		g.wanted = j.last()
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *group) Leadership() (consensus.Leadership, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.failed != nil {
		return consensus.Leadership{Term: g.term}, g.changed
	}
	return consensus.Leadership{Term: g.term, Leader: g.b.cfg.ReplicaID, Role: consensus.LeaderReady, ReadyIndex: g.ready}, g.changed
}

func (g *group) SnapshotWanted() (minIndex uint64, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wanted, g.changed
}

func (g *group) Propose(expectedTerm uint64, data []byte, done func(consensus.Result)) {
	err := consensus.ErrTooLarge
	if len(data) <= int(limits.MaxProposalBytes) {
		err = g.enqueue(expectedTerm, work{data: data, done: done})
	}
	if err != nil {
		done(consensus.Result{Outcome: consensus.Rejected, Err: err})
	}
}

func (g *group) enqueue(term uint64, w work) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.failed != nil:
		return g.failed
	case g.closed:
		return consensus.ErrShuttingDown
	case term != g.term:
		return fmt.Errorf("%w: it is %d, not %d", consensus.ErrTermMismatch, g.term, term)
	}
	select {
	case g.queue <- w:
		return nil
	default:
		return consensus.ErrOverloaded
	}
}

func (g *group) Read(from uint64, maxBytes int) ([]consensus.Entry, uint64, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	first, last := g.journal.first(), g.journal.last()
	switch {
	case g.closed:
		return nil, 0, nil, consensus.ErrShuttingDown
	case from < first:
		return nil, last, nil, fmt.Errorf("read from %d, the log begins at %d: %w", from, first, consensus.ErrCompacted)
	case from > last+1:
		return nil, last, nil, fmt.Errorf("read from %d, the log ends at %d: %w", from, last, consensus.ErrAheadOfLog)
	case from == last+1:
		return nil, last, g.changed, nil
	}
	entries := g.journal.entries[from-first:]
	n := 1
	for maxBytes -= len(entries[0].Data); n < len(entries) && maxBytes >= len(entries[n].Data); n++ {
		maxBytes -= len(entries[n].Data)
	}
	return entries[:n:n], last, nil, nil
}

// ReadIndex needs no quorum: every finished write is in the log.
func (g *group) ReadIndex(context.Context) (index, term uint64, err error) {
	if l, _ := g.Leadership(); l.Role != consensus.LeaderReady {
		return 0, 0, consensus.ErrNotLeader
	}
	return g.Status().LastIndex, g.term, nil
}

// SaveSnapshot reads all of r before it begins, so that half of one changes nothing.
func (g *group) SaveSnapshot(_ context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	content, err := io.ReadAll(r)
	saved := make(chan consensus.Result, 1)
	if err == nil {
		err = g.enqueue(g.term, work{data: content, save: &m, done: func(r consensus.Result) { saved <- r }})
	}
	if err == nil {
		err = (<-saved).Err
	}
	if err != nil {
		return fmt.Errorf("save snapshot at %d: %w", m.Index, err)
	}
	return nil
}

// Snapshot opens the file anew: what was opened stays as it is when a newer
// snapshot replaces the file.
func (g *group) Snapshot(context.Context) (consensus.SnapshotMeta, io.ReadCloser, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	j := g.journal
	if j.meta.Index == 0 {
		return j.meta, nil, consensus.ErrNoSnapshot
	}
	f, err := os.Open(g.path)
	if err != nil {
		return j.meta, nil, err
	}
	return j.meta, file{io.NewSectionReader(f, j.content, int64(j.meta.Size)), f}, nil
}

// file reads a part of a file and closes all of it.
type file struct {
	io.Reader
	io.Closer
}

func (g *group) Members() consensus.Membership {
	return consensus.Membership{Members: []consensus.Member{{ReplicaID: g.b.cfg.ReplicaID, BrokerID: g.b.cfg.BrokerID, Role: consensus.Voter}}}
}

func (g *group) Status() consensus.Status {
	l, _ := g.Leadership()
	g.mu.Lock()
	defer g.mu.Unlock()
	j := g.journal
	return consensus.Status{
		Leadership: l, FirstIndex: j.first(), LastIndex: j.last(), CommitIndex: j.last(),
		SnapshotIndex: j.meta.Index, LogBytes: uint64(j.end), LeaderChanges: 1,
	}
}

// LoopAge is how long write has been at its present work, which is to write.
func (g *group) LoopAge() (loop, sync time.Duration) {
	if since := g.busy.Load(); since != 0 {
		loop = time.Since(time.Unix(0, since))
	}
	return loop, loop
}

// Close answers what is queued, and closes the file.
func (g *group) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		<-g.done
		return nil
	}
	g.closed = true
	close(g.queue)
	g.change()
	g.mu.Unlock()
	<-g.done
	g.b.mu.Lock()
	g.b.group = nil
	g.b.mu.Unlock()
	return g.journal.f.Close()
}

// Destroy closes the group and removes its data.
func (g *group) Destroy() error {
	if err := g.Close(); err != nil {
		return err
	}
	return errors.Join(os.Remove(g.path), syncDir(g.b.cfg.DataDir))
}
