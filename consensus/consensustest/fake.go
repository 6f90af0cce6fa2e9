package consensustest

import (
	"bytes"
	"context"
	"fmt"
	"io"
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

var fakeCapabilities = []consensus.Capability{consensus.CapLearners, consensus.CapJointConsensus, consensus.CapLeaderTransfer}

// Describe implements consensus.Client.
func (f *Fake) Describe() consensus.Description {
	return consensus.Description{Backend: "fake", Version: "0", Capabilities: fakeCapabilities, Limits: consensus.Limits{
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

// Members implements consensus.Client: at first every replica is a voter.
func (f *Fake) Members(_ context.Context, g consensus.GroupID) (consensus.Membership, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	if err := f.checkLocked(g); err != nil {
		return consensus.Membership{}, err
	}
	return f.c.membershipLocked(), nil
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
	if f.c.leader == f.id {
		s.Peers = f.c.peersLocked()
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
