package consensustest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/quorate/quorate/consensus"
)

// fakeBatch is how many entries a Fake delivers at once, at most.
const fakeBatch = 64

// Fake is a consensus.Client over a log in memory, steered by a test. It has
// one group, consensus.Metadata.
type Fake struct {
	c  *FakeCluster
	id uint64

	// All below is guarded by c.mu.
	down       bool
	paused     bool
	leadership consensus.Leadership
	newer      chan struct{}
	first      uint64 // first readable index
	snapshot   *fakeSnapshot
	wanted     uint64
	wantedCh   chan struct{}
}

var _ consensus.Client = (*Fake)(nil)

type fakeSnapshot struct {
	meta consensus.SnapshotMeta
	data []byte
}

// NewFake returns the only replica, id 1, of an empty log without a leader.
func NewFake() *Fake { return NewFakeCluster(1).Replica(1) }

func newFake(c *FakeCluster, id uint64) *Fake {
	return &Fake{c: c, id: id, first: 1, newer: make(chan struct{}), wantedCh: make(chan struct{})}
}

// Cluster returns the cluster that f is a replica of.
func (f *Fake) Cluster() *FakeCluster { return f.c }

// ID returns the replica's id.
func (f *Fake) ID() uint64 { return f.id }

// Elect is FakeCluster.Elect for this replica.
func (f *Fake) Elect(term uint64) { f.c.Elect(f.id, term) }

// Depose is FakeCluster.Depose.
func (f *Fake) Depose() { f.c.Depose() }

// NextOutcome is FakeCluster.NextOutcome.
func (f *Fake) NextOutcome(fault Fault) { f.c.NextOutcome(fault) }

// SetDown tells whether this replica's backend is down, as while a crashed
// plugin restarts: no leader is known, proposals are unavailable, subscriptions
// wait. A leader that goes down is deposed.
func (f *Fake) SetDown(down bool) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.down = down
	if down && f.c.leader == f.id {
		f.c.leader = consensus.NoLeader
		f.c.counts.changes++
	}
	f.c.leadershipLocked()
}

// SetPaused tells whether delivery to this replica's subscribers stands still,
// as on a follower that lags.
func (f *Fake) SetPaused(paused bool) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.paused = paused
	f.c.signalLocked()
}

// Compact drops this replica's entries up to and including index to. A snapshot
// that covers them must exist; another replica's is taken over if this one has
// none, as if the leader had sent it.
func (f *Fake) Compact(to uint64) error {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if f.snapshot == nil || f.snapshot.meta.Index < to {
		s := f.c.newestSnapshotLocked(to)
		if s == nil {
			return fmt.Errorf("compact to %d: %w", to, consensus.ErrNoSnapshot)
		}
		f.snapshot = s
	}
	f.first = max(f.first, to+1)
	f.c.signalLocked()
	return nil
}

// WantSnapshot sets what SnapshotWanted returns; a snapshot that covers it
// resets it to 0.
func (f *Fake) WantSnapshot(minIndex uint64) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.wantLocked(minIndex)
}

func (f *Fake) wantLocked(minIndex uint64) {
	f.wanted = minIndex
	close(f.wantedCh)
	f.wantedCh = make(chan struct{})
}

func (f *Fake) leadershipLocked() {
	l := consensus.Leadership{Term: f.c.term, Leader: f.c.leader}
	switch {
	case f.down:
		l.Leader = consensus.NoLeader
	case f.c.leader == f.id:
		l.Role, l.ReadyIndex = consensus.LeaderReady, f.c.ready
	}
	if l == f.leadership {
		return
	}
	f.leadership = l
	close(f.newer)
	f.newer = make(chan struct{})
}

// Describe implements consensus.Client.
func (f *Fake) Describe() consensus.Description {
	return consensus.Description{Backend: "fake", Version: "0", Limits: consensus.Limits{
		MaxGroups: 1, MaxMembers: uint32(len(f.c.replicas)), MaxProposalBytes: 1 << 20, MaxInflightProposals: 1024, MaxInflightBytes: 64 << 20,
	}}
}

// LeaderFor implements consensus.Client.
func (f *Fake) LeaderFor(g consensus.GroupID) (consensus.Leadership, <-chan struct{}) {
	if g != consensus.Metadata {
		return consensus.Leadership{}, nil
	}
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	return f.leadership, f.newer
}

// Propose implements consensus.Client.
func (f *Fake) Propose(ctx context.Context, p consensus.Proposal) consensus.Result {
	if p.Group != consensus.Metadata {
		return consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrGroupNotFound}
	}
	p.Data = slices.Clone(p.Data)
	waited := false
	for {
		result, changed := f.tryPropose(p, waited)
		if changed == nil {
			return result
		}
		waited = true
		select {
		case <-changed:
		case <-ctx.Done():
			return f.count(consensus.Result{Outcome: consensus.Unknown, Err: fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())})
		}
	}
}

func (f *Fake) count(r consensus.Result) consensus.Result {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	return f.countLocked(r)
}

func (f *Fake) countLocked(r consensus.Result) consensus.Result {
	switch r.Outcome {
	case consensus.Committed:
		f.c.counts.committed++
	case consensus.Rejected:
		f.c.counts.rejected++
	default:
		f.c.counts.unknown++
	}
	return r
}

// tryPropose decides p, or returns a channel to wait on while proposals are held.
func (f *Fake) tryPropose(p consensus.Proposal, waited bool) (consensus.Result, <-chan struct{}) {
	c := f.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := f.refuseLocked(p); err != nil {
		if waited {
			return f.countLocked(consensus.Result{Outcome: consensus.Unknown, Err: fmt.Errorf("%w: %w", consensus.ErrLeadershipLost, err)}), nil
		}
		return f.countLocked(consensus.Result{Outcome: consensus.Rejected, Err: err}), nil
	}
	if c.held {
		return consensus.Result{}, c.changed
	}
	return f.countLocked(f.decideLocked(p)), nil
}

// refuseLocked returns why p can not be accepted: the checks that the SDK makes.
func (f *Fake) refuseLocked(p consensus.Proposal) error {
	switch c := f.c; {
	case f.down:
		return consensus.ErrUnavailable
	case c.leader != f.id:
		return consensus.ErrNotLeader
	case c.term != p.Term:
		return fmt.Errorf("%w: it is %d, not %d", consensus.ErrTermMismatch, c.term, p.Term)
	case p.Sequence != c.sequence+1:
		return fmt.Errorf("%w: want %d, got %d", consensus.ErrOutOfSequence, c.sequence+1, p.Sequence)
	case len(p.Data) > 1<<20:
		return consensus.ErrTooLarge
	}
	return nil
}

func (f *Fake) decideLocked(p consensus.Proposal) consensus.Result {
	c := f.c
	lost := fmt.Errorf("%w: as the test asked", consensus.ErrLeadershipLost)
	switch c.takeFaultLocked() {
	case RejectedOverloaded:
		return consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrOverloaded}
	case UnknownLost:
		c.sequence = p.Sequence
		return consensus.Result{Err: lost}
	case UnknownCommitted:
		c.sequence = p.Sequence
		c.appendLocked(consensus.Entry{Data: p.Data})
		return consensus.Result{Err: lost}
	}
	c.sequence = p.Sequence
	c.appendLocked(consensus.Entry{Data: p.Data})
	return consensus.Result{Outcome: consensus.Committed, Index: c.lastLocked()}
}

// Subscribe implements consensus.Client.
func (f *Fake) Subscribe(ctx context.Context, g consensus.GroupID, from uint64, handle func(consensus.Batch) error) error {
	if g != consensus.Metadata {
		return consensus.ErrGroupNotFound
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch, changed, err := f.read(from)
		if err != nil {
			return err
		}
		if changed != nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if err := handle(batch); err != nil {
			return err
		}
		from += uint64(len(batch.Entries))
	}
}

// read returns the entries at from, or a channel to wait on.
func (f *Fake) read(from uint64) (consensus.Batch, <-chan struct{}, error) {
	c := f.c
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.lastLocked()
	switch {
	case f.down || f.paused:
		return consensus.Batch{}, c.changed, nil
	case from < f.first:
		return consensus.Batch{}, nil, fmt.Errorf("read from %d, the log begins at %d: %w", from, f.first, consensus.ErrCompacted)
	case from > last+1:
		return consensus.Batch{}, nil, fmt.Errorf("read from %d, the log ends at %d: %w", from, last, consensus.ErrAheadOfLog)
	case from == last+1:
		return consensus.Batch{}, c.changed, nil
	}
	end := min(from-1+fakeBatch, last)
	return consensus.Batch{Entries: cloneEntries(c.entries[from-1 : end]), Commit: last}, nil, nil
}

// ReadIndex implements consensus.Client; only the leader answers.
func (f *Fake) ReadIndex(_ context.Context, g consensus.GroupID) (index, term uint64, err error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.checkLocked(g); err != nil {
		return 0, 0, err
	}
	if f.c.leader != f.id {
		return 0, 0, consensus.ErrNotLeader
	}
	return f.c.lastLocked(), f.c.term, nil
}

func (f *Fake) checkLocked(g consensus.GroupID) error {
	switch {
	case g != consensus.Metadata:
		return consensus.ErrGroupNotFound
	case f.down:
		return consensus.ErrUnavailable
	}
	return nil
}

// SaveSnapshot implements consensus.Client. It compacts nothing: see Compact.
func (f *Fake) SaveSnapshot(_ context.Context, g consensus.GroupID, m consensus.SnapshotMeta, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.checkLocked(g); err != nil {
		return err
	}
	switch {
	case m.Index == 0 || m.Index > f.c.lastLocked():
		return fmt.Errorf("save snapshot at %d: %w", m.Index, consensus.ErrInvalidArgument)
	case f.snapshot != nil && m.Index <= f.snapshot.meta.Index:
		return fmt.Errorf("save snapshot at %d after %d: %w", m.Index, f.snapshot.meta.Index, consensus.ErrSnapshotStale)
	}
	m.Size = uint64(len(data))
	f.snapshot = &fakeSnapshot{meta: m, data: data}
	if f.wanted != 0 && m.Index >= f.wanted {
		f.wantLocked(0)
	}
	return nil
}

// Snapshot implements consensus.Client.
func (f *Fake) Snapshot(_ context.Context, g consensus.GroupID) (consensus.SnapshotMeta, io.ReadCloser, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.checkLocked(g); err != nil {
		return consensus.SnapshotMeta{}, nil, err
	}
	if f.snapshot == nil {
		return consensus.SnapshotMeta{}, nil, consensus.ErrNoSnapshot
	}
	return f.snapshot.meta, io.NopCloser(bytes.NewReader(f.snapshot.data)), nil
}

// SnapshotWanted implements consensus.Client.
func (f *Fake) SnapshotWanted(consensus.GroupID) (minIndex uint64, changed <-chan struct{}) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	return f.wanted, f.wantedCh
}

// Members implements consensus.Client: every replica is a voter.
func (f *Fake) Members(_ context.Context, g consensus.GroupID) (consensus.Membership, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.checkLocked(g); err != nil {
		return consensus.Membership{}, err
	}
	var m consensus.Membership
	for _, r := range f.c.replicas {
		m.Members = append(m.Members, consensus.Member{ReplicaID: r.id, BrokerID: int32(r.id), Role: consensus.Voter})
	}
	return m, nil
}

// Status implements consensus.Client.
func (f *Fake) Status(_ context.Context, g consensus.GroupID) (consensus.Status, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.checkLocked(g); err != nil {
		return consensus.Status{}, err
	}
	s := consensus.Status{
		Leadership: f.leadership, FirstIndex: f.first, LastIndex: f.c.lastLocked(), CommitIndex: f.c.lastLocked(),
		Committed: f.c.counts.committed, Rejected: f.c.counts.rejected, UnknownTotal: f.c.counts.unknown, LeaderChanges: f.c.counts.changes,
	}
	if f.snapshot != nil {
		s.SnapshotIndex = f.snapshot.meta.Index
	}
	return s, nil
}

// Health implements consensus.Client.
func (f *Fake) Health() consensus.Health {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if f.down {
		return consensus.Health{State: "backoff", Since: time.Now(), LastExit: "the test took it down"}
	}
	return consensus.Health{State: "running", Since: time.Now()}
}
