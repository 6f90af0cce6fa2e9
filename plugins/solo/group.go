package solo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/queue"
	"github.com/quorate/quorate/consensus/sdk/snapshot"
	"github.com/quorate/quorate/consensus/sdk/watched"
	"github.com/quorate/quorate/plugins/seglog"
)

// internal is the type of an entry that the backend wrote for itself.
const internal = 1

// group is a log and its newest snapshot. One goroutine, commit, appends to it.
type group struct {
	id        uint64
	dir       string
	self      consensus.Member
	log       *seglog.Log
	snapshots *snapshot.Store
	term      uint64
	proposals *queue.Queue[proposal]

	leadership watched.Value[consensus.Leadership]
	committed  watched.Value[uint64] // the last entry that is on disk
	wish       *snapshot.Wish
	saving     sync.Mutex // one SaveSnapshot at a time
}

type proposal struct {
	data []byte
	done func(consensus.Result)
}

// openGroup recovers the log, and leads when it returns.
func openGroup(dir string, self consensus.Member, spec consensus.GroupSpec) (*group, error) {
	if spec.Mode == consensus.OpenJoin {
		return nil, fmt.Errorf("%w: this backend is one node and joins nobody", consensus.ErrUnsupported)
	}
	g := &group{
		id: uint64(spec.ID), dir: dir, self: self, wish: snapshot.NewWish(spec.Tuning),
		proposals: queue.New[proposal](int(limits.MaxInflightProposals)),
	}
	var err error
	if g.snapshots, err = snapshot.OpenStore(dir); err != nil {
		return nil, err
	}
	cfg := seglog.DefaultConfig()
	cfg.Spares = 0 // less disk for a little more time
	if g.log, err = seglog.Open(dir, cfg, seglog.OS(), slog.Default()); err != nil {
		return nil, err
	}
	for _, step := range []func() error{func() error { return g.check(spec) }, g.compact, g.lead} {
		if err := step(); err != nil {
			return nil, errors.Join(err, g.log.Close())
		}
	}
	go g.proposals.Run(g.commit)
	return g, nil
}

// check tells whether what is on disk is what was expected.
func (g *group) check(spec consensus.GroupSpec) error {
	_, exists := g.log.Info(g.id)
	switch {
	case exists:
		return nil
	case spec.Mode == consensus.OpenRecover:
		return fmt.Errorf("%w: there is no data in %s", consensus.ErrGroupNotFound, g.dir)
	case len(spec.Members) != 1 || spec.Members[0].ReplicaID != g.self.ReplicaID:
		return fmt.Errorf("%w: this backend is one node: the members must be replica %d alone", consensus.ErrInvalidArgument, g.self.ReplicaID)
	default:
		return nil
	}
}

// lead begins a term. Nobody hears of it before its first entry is on disk: so it
// is not used again after a restart (rule T3), and the leader is ready (rule T4).
func (g *group) lead() error {
	info, _ := g.log.Info(g.id)
	before, err := g.log.Term(g.id, info.Last)
	if err != nil {
		return err
	}
	g.term = before + 1
	ready := seglog.Entry{Index: info.Last + 1, Term: g.term, Type: internal}
	if err := g.log.Append(true, seglog.Write{Group: g.id, Entries: []seglog.Entry{ready}}); err != nil {
		return err
	}
	g.committed.Set(ready.Index)
	g.wish.Update(g.length)
	g.leadership.Set(consensus.Leadership{
		Term: g.term, Leader: g.self.ReplicaID, Role: consensus.LeaderReady, ReadyIndex: ready.Index,
	})
	return nil
}

func (g *group) Leadership() (consensus.Leadership, <-chan struct{}) { return g.leadership.Get() }

// Propose leaves the work to commit. The SDK has checked term, order and size.
func (g *group) Propose(_ uint64, data []byte, done func(consensus.Result)) {
	if err := g.proposals.Put(proposal{data, done}); err != nil {
		done(consensus.Result{Outcome: consensus.Rejected, Err: err})
	}
}

// commit makes what was proposed meanwhile durable with one write and one sync,
// and only then answers (rule S1). If that fails nobody knows what is on the disk:
// the outcome is unknown, the log takes no more, and the SDK ends the process.
func (g *group) commit(batch []proposal) {
	last, _ := g.committed.Get()
	entries := make([]seglog.Entry, len(batch))
	for i, p := range batch {
		entries[i] = seglog.Entry{Index: last + 1 + uint64(i), Term: g.term, Data: p.data}
	}
	if err := g.log.Append(true, seglog.Write{Group: g.id, Entries: entries}); err != nil {
		g.leadership.Set(consensus.Leadership{Term: g.term})
		for _, p := range batch {
			p.done(consensus.Result{Outcome: consensus.Unknown, Err: err})
		}
		return
	}
	g.committed.Set(last + uint64(len(batch)))
	g.wish.Update(g.length)
	for i, p := range batch {
		p.done(consensus.Result{Outcome: consensus.Committed, Index: entries[i].Index})
	}
}

func (g *group) Read(from uint64, maxBytes int) ([]consensus.Entry, uint64, <-chan struct{}, error) {
	committed, more := g.committed.Get()
	info, _ := g.log.Info(g.id)
	switch {
	case from < info.First:
		return nil, committed, nil, fmt.Errorf("%w: the log begins at %d", consensus.ErrCompacted, info.First)
	case from > committed+1:
		return nil, committed, nil, fmt.Errorf("%w: the log ends at %d", consensus.ErrAheadOfLog, committed)
	case from == committed+1:
		return nil, committed, more, nil
	}
	found, err := g.log.Entries(g.id, from, committed+1, int64(maxBytes))
	if errors.Is(err, seglog.ErrCompacted) { // it was there a moment ago
		err = fmt.Errorf("%w: %w", consensus.ErrCompacted, err)
	}
	entries := make([]consensus.Entry, len(found))
	for i, e := range found {
		entries[i] = consensus.Entry{Index: e.Index, Term: e.Term, Internal: e.Type == internal, Data: e.Data}
	}
	return entries, committed, nil, err
}

// ReadIndex needs no quorum: what was finished is in the log of the only node.
func (g *group) ReadIndex(context.Context) (index, term uint64, err error) {
	if l, _ := g.leadership.Get(); l.Role != consensus.LeaderReady {
		return 0, 0, consensus.ErrNotLeader
	}
	committed, _ := g.committed.Get()
	return committed, g.term, nil
}

func (g *group) Members() consensus.Membership {
	return consensus.Membership{Members: []consensus.Member{g.self}}
}

func (g *group) Status() consensus.Status {
	info, _ := g.log.Info(g.id)
	leadership, _ := g.leadership.Get()
	committed, _ := g.committed.Get()
	return consensus.Status{
		Leadership: leadership, LeaderChanges: 1, CommitIndex: committed,
		FirstIndex: info.First, LastIndex: info.Last, SnapshotIndex: info.Mark.Index, LogBytes: uint64(info.Bytes),
	}
}

// length is how long the log is: what the wish for a snapshot depends on.
func (g *group) length() (committed, snapshot, bytes uint64) {
	info, _ := g.log.Info(g.id)
	committed, _ = g.committed.Get()
	return committed, info.Mark.Index, uint64(info.Bytes)
}

func (g *group) LoopAge() (loop, sync time.Duration) { return g.proposals.Age(), g.log.SyncAge() }

// Close answers what is queued, and closes the log.
func (g *group) Close() error {
	g.leadership.Set(consensus.Leadership{Term: g.term})
	g.proposals.Close()
	return g.log.Close()
}

// Destroy closes the group and removes its data.
func (g *group) Destroy() error {
	return errors.Join(g.Close(), os.RemoveAll(g.dir))
}
