package consensustest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/quorate/quorate/consensus"
)

// readBytes is how much a node asks for at once.
const readBytes = 64 << 10

// node is one replica and the host that goes with it: it applies what the
// backend delivers, as a broker would, and forgets everything between lives.
type node struct {
	l      *lab
	id     uint64
	dir    string
	listen string // its address, known after the first start
	lives  int

	backend consensus.Backend
	group   consensus.Group // nil while it is down
	stop    context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	state     *machine
	installed int // snapshots that it had to install while it was reading
}

func (n *node) start(mode consensus.OpenMode) {
	n.l.t.Helper()
	n.bind()
	n.open(mode)
}

// bind starts the backend, which may have to wait for the port of its former life.
func (n *node) bind() {
	n.l.t.Helper()
	cfg := consensus.StartConfig{
		ClusterID: "consensustest", ReplicaID: n.id, BrokerID: int32(n.id), DataDir: n.dir, Options: n.l.cfg.Options,
		Timing: n.l.cfg.Timing, Peer: consensus.PeerEndpoint{Listen: "127.0.0.1:0"}, SessionID: fmt.Sprintf("life-%d", n.lives),
	}
	if n.listen != "" {
		cfg.Peer = consensus.PeerEndpoint{Listen: n.listen, Advertise: n.listen}
	}
	cfg.Peer.TLS = n.l.cfg.PeerTLS
	n.backend = n.l.cfg.New()
	if err := n.backend.Start(n.l.t.Context(), cfg); err != nil {
		n.l.t.Fatalf("replica %d: start: %v", n.id, err)
	}
	n.listen = n.backend.BoundPeerAddress()
	if _, port, err := net.SplitHostPort(n.listen); n.listen != "" && (err != nil || port == "0") {
		n.l.t.Fatalf("replica %d: nobody can dial %q", n.id, n.listen)
	}
}

func (n *node) open(mode consensus.OpenMode) {
	n.l.t.Helper()
	g, err := n.backend.OpenGroup(n.l.t.Context(), n.l.spec(mode))
	if err != nil {
		n.l.t.Fatalf("replica %d: open group: %v", n.id, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.lives++
	n.mu.Lock()
	n.group, n.stop, n.state = g, cancel, &machine{Applied: map[string]uint64{}}
	n.mu.Unlock()
	who := life{n.id, n.lives}
	n.running.Go(func() { n.watch(ctx, g, who) })
	n.running.Go(func() { n.follow(ctx, g, who) })
}

// end stops the host and then the backend with how.
func (n *node) end(how func(consensus.Backend)) {
	if n.backend == nil {
		return
	}
	if n.stop != nil {
		n.stop()
		n.running.Wait()
	}
	how(n.backend)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.backend, n.group, n.stop = nil, nil, nil
}

func (n *node) kill() { n.end(n.l.cfg.Kill) }

func (n *node) shutDown() {
	n.end(func(b consensus.Backend) {
		if err := b.Stop(context.Background()); err != nil {
			n.l.checks.breaks("L6", "replica %d: stop: %v", n.id, err)
		}
	})
}

func (n *node) up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.group != nil
}

// watch reports every leadership that is seen.
func (n *node) watch(ctx context.Context, g consensus.Group, who life) {
	for ctx.Err() == nil {
		l, newer := g.Leadership()
		n.l.checks.leadership(who, l)
		select {
		case <-newer:
		case <-ctx.Done():
		}
	}
}

// follow rebuilds the state from the newest snapshot and applies what follows.
func (n *node) follow(ctx context.Context, g consensus.Group, who life) {
	if err := n.install(ctx, g); err != nil && !errors.Is(err, consensus.ErrNoSnapshot) {
		n.l.checks.breaks("S4", "replica %d: snapshot: %v", n.id, err)
		return
	}
	for ctx.Err() == nil {
		from := n.applied() + 1
		entries, commit, next, err := g.Read(from, readBytes)
		switch {
		case errors.Is(err, consensus.ErrCompacted):
			if err := n.install(ctx, g); err != nil {
				n.l.checks.breaks("D5", "replica %d: reading from %d needs a snapshot: %v", n.id, from, err)
				return
			}
			n.mu.Lock()
			n.installed++
			n.mu.Unlock()
		case err != nil:
			n.l.checks.breaks("D1", "replica %d: read from %d: %v", n.id, from, err)
			return
		case len(entries) == 0 && next == nil:
			n.l.checks.breaks("D1", "replica %d: read from %d gave neither entries nor a channel to wait on", n.id, from)
			return
		case len(entries) == 0:
			select {
			case <-next:
			case <-ctx.Done():
			}
		default:
			if !n.take(who, entries, commit) {
				return
			}
		}
	}
}

func (n *node) take(who life, entries []consensus.Entry, commit uint64) bool {
	for _, e := range entries {
		if e.Index > commit {
			n.l.checks.breaks("D1", "replica %d delivers entry %d, only %d are committed", n.id, e.Index, commit)
		}
		n.mu.Lock()
		err := n.state.apply(e)
		chain := n.state.Chain
		n.mu.Unlock()
		if err != nil {
			n.l.checks.breaks("D2", "replica %d: %v", n.id, err)
			return false
		}
		n.l.checks.entry(who, e, chain)
	}
	return true
}

// install replaces the state by the newest snapshot.
func (n *node) install(ctx context.Context, g consensus.Group) error {
	meta, r, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	m, err := readMachine(meta, r)
	if err != nil {
		return err
	}
	if chain, ok := n.l.checks.chain(m.Index); ok && chain != m.Chain {
		n.l.checks.breaks("D3", "replica %d: the snapshot at %d is of another log", n.id, m.Index)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.Index < n.state.Index {
		return fmt.Errorf("%d was applied already, the snapshot is at %d", n.state.Index, m.Index)
	}
	n.state = m
	return nil
}

func (n *node) applied() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.Index
}

// snapshotState returns a copy of the node's state.
func (n *node) snapshotState() *machine {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.clone()
}

func (n *node) leadership() consensus.Leadership {
	n.mu.Lock()
	g := n.group
	n.mu.Unlock()
	if g == nil {
		return consensus.Leadership{}
	}
	l, _ := g.Leadership()
	return l
}
