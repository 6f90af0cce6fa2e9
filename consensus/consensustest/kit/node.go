package kit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/faults"
)

// samplePeriod is how often a replica is asked for its term.
const samplePeriod = 50 * time.Millisecond

// startPatience is the least that a replica gets to start, however impatient the
// kit is otherwise: a busy machine is no fault of the backend.
const startPatience = 30 * time.Second

// node is one replica and the mini-host that goes with it: it applies what the
// backend delivers, as a broker would, and forgets everything between lives.
type node struct {
	l      *lab
	id     uint64
	dir    string
	listen string // its own address for its peers
	lives  int

	front     Front              // what it is, if that is not what the others are
	tls       *consensus.PeerTLS // its identity, if it is not Options.PeerTLS
	plaintext bool               // it has none
	faults    string             // the directory of what spoils its storage, if that may be
	joined    bool               // it is none of the first members
	removed   bool               // it is no member any more

	stop    context.CancelFunc
	running sync.WaitGroup
	ending  *atomic.Bool

	mu      sync.Mutex
	replica Replica // nil while it is down
	state   *machine
	moved   chan struct{} // closed when state has moved on
}

// launch is how the node is started.
func (n *node) launch(mode consensus.OpenMode) Launch {
	start := consensus.StartConfig{
		ClusterID: n.l.clusterID, ReplicaID: n.id, BrokerID: int32(n.id), DataDir: n.dir, Options: n.l.opts.Backend,
		Timing: n.l.timing, SessionID: fmt.Sprintf("life-%d", n.lives), HostLease: time.Hour,
		Peer: consensus.PeerEndpoint{Listen: n.listen, Advertise: n.l.advertised(n), TLS: n.l.opts.PeerTLS},
	}
	if n.l.lease != 0 {
		start.HostLease = n.l.lease
	}
	if n.tls != nil || n.plaintext {
		start.Peer.TLS = n.tls
	}
	launch := Launch{Start: start, Groups: n.l.groups(n, mode), RunDir: filepath.Join(n.l.dir, "run", fmt.Sprint(n.id)), Strange: n.l.strange}
	if n.faults != "" {
		launch.Env = map[string]string{faults.DirKey: n.faults}
	}
	return launch
}

// start starts the replica and its host.
func (n *node) start(mode consensus.OpenMode) {
	if err := n.tryStart(mode); err != nil {
		n.l.giveUp("L2", "replica %d does not start: %v", n.id, err)
	}
}

func (n *node) tryStart(mode consensus.OpenMode) error {
	ctx, cancel := context.WithTimeout(n.l.ctx, max(startPatience, n.l.opts.Patience))
	defer cancel()
	front := n.l.front
	if n.front != nil {
		front = n.front
	}
	r, err := front.Launch(ctx, n.launch(mode))
	if err != nil {
		return err
	}
	life, cancel := context.WithCancel(n.l.ctx)
	n.lives++
	n.mu.Lock()
	n.replica, n.stop, n.state, n.moved = r, cancel, newMachine(), make(chan struct{})
	n.ending = &atomic.Bool{}
	n.mu.Unlock()
	who := lifeOf(n)
	ending := n.ending
	n.running.Go(func() { n.watch(life, r, who) })
	n.running.Go(func() { n.sample(life, r, who) })
	n.running.Go(func() { n.follow(life, r, who, ending) })
	return nil
}

func lifeOf(n *node) life { return life{n.id, n.lives} }

// end ends the replica with how, and the host after it.
func (n *node) end(how func(Replica)) {
	n.mu.Lock()
	r := n.replica
	n.mu.Unlock()
	if r == nil {
		return
	}
	n.ending.Store(true)
	how(r)
	n.stop()
	n.running.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replica = nil
}

func (n *node) kill() { n.end(Replica.Kill) }

func (n *node) shutDown() {
	n.end(func(r Replica) {
		if err := r.Stop(); err != nil {
			n.l.checks.breaks("L6", "replica %d: %v", n.id, err)
		}
	})
}

// client is the replica's client, or nil while it is down.
func (n *node) client() Replica {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.replica
}

// process is the replica as a process; cases that need one run only where it is.
func (n *node) process() Process {
	p, _ := n.client().(Process)
	return p
}

func (n *node) up() bool { return n.client() != nil }

// watch reports every leadership that is seen.
func (n *node) watch(ctx context.Context, c consensus.Client, who life) {
	for ctx.Err() == nil {
		l, newer := c.LeaderFor(consensus.Metadata)
		n.l.checks.leadership(who, l)
		select {
		case <-newer:
		case <-ctx.Done():
		}
	}
}

// sample asks for the replica's term again and again: what the host keeps of
// events would hide a term that falls.
func (n *node) sample(ctx context.Context, c consensus.Client, who life) {
	tick := time.NewTicker(samplePeriod)
	defer tick.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, n.l.opts.Patience)
		if s, err := c.Status(call, consensus.Metadata); err == nil && ctx.Err() == nil {
			n.l.checks.term(who, s.Leadership.Term)
			n.l.checks.leadership(who, s.Leadership)
		}
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// follow rebuilds the state from the newest snapshot and applies what follows.
func (n *node) follow(ctx context.Context, c consensus.Client, who life, ending *atomic.Bool) {
	err := n.install(ctx, c)
	if errors.Is(err, consensus.ErrNoSnapshot) {
		err = nil
	}
	for err == nil {
		err = c.Subscribe(ctx, consensus.Metadata, n.applied()+1, func(b consensus.Batch) error { return n.take(who, b) })
		if errors.Is(err, consensus.ErrCompacted) {
			err = n.install(ctx, c)
		}
	}
	if ctx.Err() != nil || ending.Load() || errors.Is(err, errTold) {
		return
	}
	rule := "D2"
	if errors.Is(err, consensus.ErrAheadOfLog) {
		rule = "S1"
	}
	n.l.checks.breaks(rule, "replica %d, after index %d: %v", n.id, n.applied(), err)
}

// errTold ends a delivery whose fault has been reported.
var errTold = errors.New("the delivery breaks a rule")

// take applies a batch.
func (n *node) take(who life, b consensus.Batch) error {
	for _, e := range b.Entries {
		if e.Index > b.Commit {
			n.l.checks.breaks("D1", "replica %d delivers entry %d, only %d are committed", n.id, e.Index, b.Commit)
		}
		n.mu.Lock()
		err := n.state.apply(e)
		chain := n.state.Chain
		n.mu.Unlock()
		if err != nil {
			n.l.checks.breaks("D2", "replica %d: %v", n.id, err)
			return errTold
		}
		n.l.checks.entry(who, e, chain)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.moved)
	n.moved = make(chan struct{})
	return nil
}

// install replaces the state by the newest snapshot.
func (n *node) install(ctx context.Context, c consensus.Client) error {
	meta, r, err := c.Snapshot(ctx, consensus.Metadata)
	if err != nil {
		return fmt.Errorf("open the snapshot: %w", err)
	}
	m, err := readMachine(meta, r)
	if err != nil {
		return fmt.Errorf("read the snapshot: %w", err)
	}
	if chain, ok := n.l.checks.chain(m.Index); ok && chain != m.Chain {
		n.l.checks.breaks("D3", "replica %d: the snapshot at %d is of another log", n.id, m.Index)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.Index < n.state.Index {
		n.l.checks.breaks("D5", "replica %d: after index %d a snapshot is needed, and it is of %d", n.id, n.state.Index, m.Index)
		return errTold
	}
	n.state = m
	close(n.moved)
	n.moved = make(chan struct{})
	return nil
}

func (n *node) applied() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.Index
}

// awaitApplied waits until the host has applied index; false if ctx ends first.
func (n *node) awaitApplied(ctx context.Context, index uint64) bool {
	for {
		n.mu.Lock()
		done, moved := n.state.Index >= index, n.moved
		n.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return false
		}
	}
}

// copyState returns a copy of the host's state.
func (n *node) copyState() *machine {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.clone()
}

func (n *node) leadership() consensus.Leadership {
	c := n.client()
	if c == nil {
		return consensus.Leadership{}
	}
	l, _ := c.LeaderFor(consensus.Metadata)
	return l
}

// save has the backend save the state as it is now, padded to size bytes.
func (n *node) save(size int) (consensus.SnapshotMeta, error) {
	state := n.copyState()
	data, err := state.bytes(size)
	if err != nil {
		return consensus.SnapshotMeta{}, err
	}
	return state.meta(), n.saveBytes(state.meta(), data)
}

func (n *node) saveBytes(meta consensus.SnapshotMeta, data []byte) error {
	return n.saveFrom(meta, newReader(data))
}

func (n *node) saveFrom(meta consensus.SnapshotMeta, r io.Reader) error {
	c := n.client()
	if c == nil {
		return consensus.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(n.l.ctx, n.l.opts.Patience)
	defer cancel()
	return c.SaveSnapshot(ctx, consensus.Metadata, meta, r)
}
