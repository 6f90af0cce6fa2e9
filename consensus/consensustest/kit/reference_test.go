package kit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/faults"
)

// mutation is what is wrong with a reference backend; the zero value nothing.
type mutation struct {
	skipFsync          bool // a kill loses the entries since the last one
	ackBeforeSync      bool // COMMITTED before the entry is durable; a kill in between loses it
	deliverUncommitted bool // readers see an entry before it is committed
	reuseTerm          bool // a new leader takes the term of the last one
	termFalls          bool // a restarted replica starts with term 1
	forward            bool // what is in flight when the leader dies goes to the next one
	labelAhead         bool // a snapshot is labelled with the end of the log
	commitRejected     bool // COMMITTED for a proposal that is thrown away
	rejectCommitted    bool // REJECTED for a proposal that is appended
	hungHealth         bool // the status is never answered once there is load
	gap                bool // one index in ten is not delivered
	twoLeaders         bool // a follower says that it leads as well
	appendTwice        bool // every tenth proposal is appended twice
	noAnswer           bool // every fiftieth proposal has no outcome
	readyEarly         bool // ready before an entry of the term is committed
	neverStepsDown     bool // a leader without followers stays leader
	staleReads         bool // a read index without asking anybody
	halfSnapshots      bool // a snapshot that broke off is visible
	keepsNothing       bool // a snapshot drops entries above it
	reorder            bool // neighbouring proposals change places
	divergent          bool // one replica delivers other data
	anyOptions         bool // unknown options are called valid
	smallProposals     bool // 64 KiB and no more
	smallWindow        bool // OVERLOADED long before the window is full
	refusesStrange     bool // messages with unknown fields are refused
	ignoresFaults      bool // after a failed sync it goes on
	electsWhenSlow     bool // a slow sync costs the lead
	strangeChanges     bool // a change that nobody knows removes the member
	anyConfig          bool // changes are made whatever configuration they are of
	makesNoChange      bool // a change is said to be made, and is not
	removedFollows     bool // who was removed says that it follows
	removedStands      bool // who was removed has elections held that nobody wins
	joinerRemoved      bool // who waits to be added says that it was removed
	joinerStands       bool // who waits to be added stands for election
	learnersCount      bool // learners count for the quorum
	halfJoint          bool // of several changes only the first is made
	believesAll        bool // every certificate is good
	keepsCertificate   bool // new certificates are taken, and not used
	forgetsOldData     bool // data of an earlier version is not read

	// These are allowed.
	refuses bool // every other read index and change is refused, as by a leader that is just losing the lead
}

// reference is an ensemble of replicas in one process: what is durable of each
// replica, who is up, and a leader whom everybody obeys. It is no consensus, but
// it keeps every rule unless it is told not to.
type reference struct {
	wrong    mutation
	version  string
	protocol uint32 // that replicas say they speak
	*ensembles
}

// ensembles is what all versions of the reference share.
type ensembles struct {
	mu       sync.Mutex
	clusters map[string]*cluster
}

func newReference(wrong mutation) (this, previous *reference) {
	shared := &ensembles{clusters: map[string]*cluster{}}
	return &reference{wrong, "2", 1, shared}, &reference{mutation{}, "1", 1, shared}
}

func (r *reference) New() consensus.Backend { return &replica{r: r} }

// cluster is all that its replicas share.
type cluster struct {
	mu       sync.Mutex
	wrong    mutation
	disks    map[uint64]*disk
	up       map[uint64]*replica
	members  []consensus.Member
	config   uint64 // the index of the members
	removed  map[uint64]bool
	term     uint64
	leader   uint64
	ready    uint64
	commit   uint64
	proposed int
	asked    int           // how often something could have been refused
	changed  chan struct{} // closed at every change of anything
}

// refuses tells whether what a leader is asked now is refused, which is allowed.
func (c *cluster) refuses() bool {
	c.asked++
	return c.wrong.refuses && c.asked%2 == 1
}

// disk is what outlives a replica.
type disk struct {
	version  string
	term     uint64
	first    uint64 // index of entries[0]
	entries  []consensus.Entry
	durable  uint64 // what a kill leaves
	meta     consensus.SnapshotMeta
	snapshot []byte
}

func (d *disk) last() uint64 { return d.first + uint64(len(d.entries)) - 1 }

func (d *disk) termAt(index uint64) uint64 {
	if index < d.first || index > d.last() {
		return d.meta.Term
	}
	return d.entries[index-d.first].Term
}

// replica is a Backend and its only Group.
type replica struct {
	r    *reference
	c    *cluster
	id   uint64
	spec consensus.GroupSpec
	load bool
	peer *peerPort // nil: no TLS

	faults *faults.Injector
	disk   *slowDisk // nil: no faults are injected
}

func (b *replica) Describe() consensus.Description {
	d := consensus.Description{
		Backend: "reference", Version: b.r.version, PeerProtocol: b.r.protocol, ConfigSchema: json.RawMessage(`{"type":"object"}`),
		Capabilities: []consensus.Capability{consensus.CapLearners, consensus.CapJointConsensus, consensus.CapTLSReload},
		Limits:       consensus.Limits{MaxGroups: 1, MaxMembers: 6, MaxProposalBytes: 2 << 20, MaxInflightProposals: 512, MaxInflightBytes: 64 << 20},
	}
	if b.r.wrong.smallProposals {
		d.Limits.MaxProposalBytes = 64 << 10
	}
	return d
}

func (b *replica) Validate(options json.RawMessage) []consensus.Diagnostic {
	if len(options) == 0 || b.r.wrong.anyOptions {
		return nil
	}
	var m map[string]any
	if err := json.Unmarshal(options, &m); err != nil {
		return []consensus.Diagnostic{{Message: err.Error()}}
	}
	var out []consensus.Diagnostic
	for key := range m {
		out = append(out, consensus.Diagnostic{Path: key, Message: "unknown"})
	}
	return out
}

func (b *replica) BoundPeerAddress() string { return "127.0.0.1:1" }

func (b *replica) Start(_ context.Context, cfg consensus.StartConfig) error {
	b.r.mu.Lock()
	defer b.r.mu.Unlock()
	if b.r.clusters[cfg.ClusterID] == nil {
		b.r.clusters[cfg.ClusterID] = &cluster{wrong: b.r.wrong, disks: map[uint64]*disk{}, up: map[uint64]*replica{}, removed: map[uint64]bool{}, changed: make(chan struct{})}
	}
	b.c, b.id = b.r.clusters[cfg.ClusterID], cfg.ReplicaID
	if b.faults != nil {
		if err := b.faults.Before(faults.Read); err != nil {
			return err
		}
		b.disk = newSlowDisk(b)
	}
	if cfg.Peer.TLS == nil {
		return nil
	}
	var err error
	b.peer, err = listenTLS(cfg.Peer.Listen, cfg.Peer.TLS, b.r.wrong.believesAll)
	return err
}

// ReloadPeerTLS implements consensus.TLSReloader.
func (b *replica) ReloadPeerTLS(t consensus.PeerTLS) error {
	if b.peer != nil && !b.r.wrong.keepsCertificate {
		b.peer.identity.Store(&t)
	}
	return nil
}

func (b *replica) OpenGroup(_ context.Context, spec consensus.GroupSpec) (consensus.Group, error) {
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disks[b.id] == nil {
		if spec.Mode == consensus.OpenRecover {
			return nil, fmt.Errorf("%w: there is nothing", consensus.ErrGroupNotFound)
		}
		c.disks[b.id] = &disk{first: 1}
	}
	d := c.disks[b.id]
	if b.r.wrong.forgetsOldData && d.version != "" && d.version != b.r.version {
		*d = disk{first: 1}
	}
	d.version = b.r.version
	b.spec = spec
	if len(c.members) == 0 {
		c.members, c.config = spec.Members, 1
	}
	c.up[b.id] = b
	c.settle()
	if c.wrong.termFalls {
		c.disks[b.id].term = 1 // until something happens
	}
	return b, nil
}

func (b *replica) Stop(ctx context.Context) error {
	if b.c == nil {
		return nil
	}
	if b.peer != nil {
		b.peer.close()
	}
	b.disk.close()
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	if b.c.up[b.id] != b {
		return nil
	}
	delete(b.c.up, b.id)
	d := b.c.disks[b.id]
	if ctx.Err() != nil && d.durable < d.last() { // killed
		d.entries = d.entries[:max(d.durable+1, d.first)-d.first]
	}
	led := b.c.leader == b.id
	if led {
		b.c.leader = 0
	}
	b.c.settle()
	if n := len(d.entries); b.c.wrong.forward && led && b.c.leader != 0 && n > 0 && !d.entries[n-1].Internal {
		b.c.append(d.entries[n-1]) // "it was still in flight"
		b.c.settle()
	}
	return nil
}

// settle elects a leader if there is none and brings everybody up to it. The
// caller holds mu.
func (c *cluster) settle() {
	quorum := c.quorum()
	if c.leader != 0 && (!quorum || c.connected()[c.leader] == nil || !c.counts(c.leader)) && !c.wrong.neverStepsDown {
		c.leader = 0
	}
	if c.leader == 0 && quorum && len(c.members) > 0 {
		c.elect()
	}
	if c.leader != 0 && quorum {
		c.replicate()
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cluster) elect() {
	for id := range c.connected() {
		if !c.counts(id) {
			continue
		}
		best, d := c.disks[c.leader], c.disks[id]
		if best == nil || d.termAt(d.last()) > best.termAt(best.last()) || d.termAt(d.last()) == best.termAt(best.last()) && d.last() > best.last() {
			c.leader = id
		}
	}
	if !c.wrong.reuseTerm || c.term == 0 {
		c.term++
	}
	c.commit = 0
	c.append(consensus.Entry{Internal: true})
	c.ready = c.disks[c.leader].last()
	if c.wrong.readyEarly {
		c.ready--
	}
}

func (c *cluster) append(e consensus.Entry) uint64 {
	d := c.disks[c.leader]
	e.Index, e.Term = d.last()+1, c.term
	d.entries = append(d.entries, e)
	if !c.wrong.skipFsync || e.Internal && c.term == 1 {
		d.durable = e.Index
	}
	return e.Index
}

// replicate makes everybody who is up equal to the leader.
func (c *cluster) replicate() {
	l := c.disks[c.leader]
	for id := range c.connected() {
		if !c.isMember(id) {
			continue
		}
		d := c.disks[id]
		d.term = c.term
		if id == c.leader {
			continue
		}
		if d.last()+1 < l.first {
			d.first, d.entries, d.meta, d.snapshot = l.first, nil, l.meta, l.snapshot
		}
		from := max(d.first, l.first)
		d.entries = append(slices.Clone(d.entries[:min(from-d.first, uint64(len(d.entries)))]), l.entries[from-l.first:]...)
		if !c.wrong.skipFsync {
			d.durable = d.last()
		}
	}
	c.commit = l.last()
}

func (b *replica) Leadership() (consensus.Leadership, <-chan struct{}) {
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	l := consensus.Leadership{Term: c.disks[b.id].term, Leader: c.leader, Role: consensus.Follower}
	if b.stranger(&l) {
		return l, c.changed
	}
	if c.up[b.id] == b && (c.leader == b.id || c.wrong.twoLeaders && c.leader != 0) {
		l = consensus.Leadership{Term: c.term, Leader: b.id, Role: consensus.LeaderReady, ReadyIndex: c.ready}
	}
	return l, c.changed
}

func (b *replica) Propose(term uint64, data []byte, done func(consensus.Result)) {
	if b.disk != nil {
		b.disk.propose(term, data, done)
		return
	}
	b.propose(term, data, done)
}

func (b *replica) propose(term uint64, data []byte, done func(consensus.Result)) {
	done2 := func(r consensus.Result) { go done(r) }
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proposed++
	b.load = true
	w := c.wrong
	mine := c.leader == b.id && term == c.term
	switch {
	case c.up[b.id] != b:
		done2(consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrShuttingDown})
		return
	case w.twoLeaders && c.leader != 0:
	case !mine:
		done2(consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrNotLeader})
		return
	}
	switch {
	case w.noAnswer && c.proposed%50 == 0:
		return
	case w.commitRejected && c.proposed%10 == 0:
		done2(consensus.Result{Outcome: consensus.Committed, Index: c.disks[c.leader].last() + 1})
		return
	}
	if !c.quorum() {
		done2(consensus.Result{Err: consensus.ErrLeadershipLost})
		return
	}
	index := c.append(consensus.Entry{Data: data})
	if w.appendTwice && c.proposed%10 == 0 {
		c.append(consensus.Entry{Data: data})
	}
	if l := c.disks[c.leader]; w.reorder && c.proposed%10 == 0 && !l.entries[len(l.entries)-2].Internal {
		n := len(l.entries)
		l.entries[n-1].Data, l.entries[n-2].Data = l.entries[n-2].Data, l.entries[n-1].Data
	}
	if w.ackBeforeSync {
		for id := range c.up {
			c.disks[id].durable = min(c.disks[id].durable, index-1)
		}
	}
	c.settle()
	if w.ackBeforeSync {
		for id := range c.up {
			c.disks[id].durable = index - 1
		}
	}
	if w.rejectCommitted && c.proposed%10 == 0 {
		done2(consensus.Result{Outcome: consensus.Rejected, Err: consensus.ErrTransferPending})
		return
	}
	done2(consensus.Result{Outcome: consensus.Committed, Index: index})
}

func (b *replica) Read(from uint64, maxBytes int) ([]consensus.Entry, uint64, <-chan struct{}, error) {
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.disks[b.id]
	commit := min(c.commit, d.last())
	if c.wrong.deliverUncommitted {
		commit = d.last()
	}
	switch {
	case from < d.first:
		return nil, commit, nil, consensus.ErrCompacted
	case from > d.last()+1:
		return nil, commit, nil, consensus.ErrAheadOfLog
	case from > commit:
		return nil, commit, c.changed, nil
	}
	var out []consensus.Entry
	for _, e := range d.entries[from-d.first : commit+1-d.first] {
		if maxBytes -= len(e.Data); maxBytes < 0 && len(out) > 0 {
			break
		}
		if c.wrong.divergent && b.id == 2 && !e.Internal && e.Index%10 == 0 {
			e.Data = append(slices.Clone(e.Data), '!')
		}
		out = append(out, e)
	}
	if c.wrong.gap && len(out) > 1 && from%10 != 0 {
		out = slices.DeleteFunc(out, func(e consensus.Entry) bool { return e.Index%10 == 0 })
	}
	if c.wrong.deliverUncommitted {
		return out, commit - 1, nil, nil
	}
	return out, commit, nil, nil
}

func (b *replica) ReadIndex(context.Context) (uint64, uint64, error) {
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong.staleReads {
		return c.disks[b.id].last(), c.term, nil
	}
	if c.leader != b.id || !c.quorum() || c.refuses() {
		return 0, 0, consensus.ErrNotLeader
	}
	return c.commit, c.term, nil
}

func (b *replica) SaveSnapshot(_ context.Context, m consensus.SnapshotMeta, r io.Reader) error {
	content, err := io.ReadAll(r)
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.disks[b.id]
	if err != nil && !c.wrong.halfSnapshots {
		return err
	}
	if m.Index <= d.meta.Index {
		return consensus.ErrSnapshotStale
	}
	if m.Index > min(c.commit, d.last()) {
		return consensus.ErrInvalidArgument
	}
	if c.wrong.labelAhead {
		m.Index, m.Term = d.last(), c.term
	}
	drop := m.Index + 1
	if c.wrong.keepsNothing {
		drop = d.last() + 1
	}
	d.meta, d.snapshot = m, content
	d.meta.Size = uint64(len(content))
	d.entries, d.first = slices.Clone(d.entries[drop-d.first:]), drop
	c.settle()
	return nil
}

func (b *replica) Snapshot(context.Context) (consensus.SnapshotMeta, io.ReadCloser, error) {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	d := b.c.disks[b.id]
	if d.meta.Index == 0 {
		return consensus.SnapshotMeta{}, nil, consensus.ErrNoSnapshot
	}
	return d.meta, io.NopCloser(bytes.NewReader(d.snapshot)), nil
}

func (b *replica) SnapshotWanted() (uint64, <-chan struct{}) {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	d := b.c.disks[b.id]
	if n := b.spec.Tuning.SnapshotRequestEntries; n > 0 && uint64(len(d.entries)) > n {
		return min(d.first, b.c.commit), b.c.changed
	}
	return 0, b.c.changed
}

func (b *replica) Members() consensus.Membership {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	return consensus.Membership{Members: slices.Clone(b.c.members), ConfigIndex: b.c.config}
}

func (b *replica) Status() consensus.Status {
	l, _ := b.Leadership()
	c := b.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrong.hungHealth && b.load {
		c.mu.Unlock()
		<-time.After(7 * time.Second)
		c.mu.Lock()
	}
	d := c.disks[b.id]
	if c.wrong.removedStands && c.removed[b.id] {
		c.term, c.leader = c.term+5, 0
		d.term = c.term
		c.settle()
	}
	return consensus.Status{Leadership: l, Peers: c.peersOf(b.id), FirstIndex: d.first, LastIndex: d.last(), CommitIndex: min(c.commit, d.last()), SnapshotIndex: d.meta.Index}
}

func (b *replica) LoopAge() (time.Duration, time.Duration) { return 0, 0 }
func (b *replica) Close() error                            { return b.Stop(context.Background()) }
func (b *replica) Destroy() error                          { return b.Close() }
