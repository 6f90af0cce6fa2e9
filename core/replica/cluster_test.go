package replica

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
)

// tester is what *testing.T and *rapid.T share.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// cluster is managers in one process: a shared image instead of consensus, and
// calls instead of a network.
type cluster struct {
	t      tester
	config func(*Config)
	root   string
	listen func(*Manager) // before the first image

	publishing sync.Mutex // images reach everybody in order
	image      atomic.Pointer[metadata.Image]
	nodes      map[int32]*node
	restarts   int

	fetching atomic.Int32 // fetches under way

	mu          sync.Mutex        // of cut, the sessions and node.m
	cut         map[[2]int32]bool // from, to
	sessions    map[int32]*leaderSession
	lastSession int32
	names       map[int32]map[partitionKey]int // by session: how often its fetches and answers named them
}

// node is one broker, through its restarts.
type node struct {
	c     *cluster
	id    int32
	dir   string
	epoch atomic.Int64
	dead  atomic.Bool
	m     *Manager
	stop  context.CancelFunc
	done  chan error
}

// newCluster returns brokers that are registered and run.
func newCluster(t tester, root string, brokers int32, config func(*Config)) *cluster {
	c := &cluster{t: t, config: config, root: root, nodes: map[int32]*node{}, cut: map[[2]int32]bool{}, sessions: map[int32]*leaderSession{}, names: map[int32]map[partitionKey]int{}}
	c.image.Store(metadata.Empty())
	for id := int32(1); id <= brokers; id++ {
		c.nodes[id] = &node{c: c, id: id, dir: fmt.Sprintf("%s/%d", root, id)}
		c.start(id)
	}
	return c
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		if !n.dead.Load() {
			n.halt()
		}
	}
}

// start registers a broker in a new process and runs it.
func (c *cluster) start(id int32) {
	n := c.nodes[id]
	cfg := DefaultConfig()
	cfg.BrokerID, cfg.DataDir = id, n.dir
	cfg.ReplicaLagTimeMax = 300 * time.Millisecond
	cfg.FetchMaxWait = 50 * time.Millisecond
	cfg.BackoffMin, cfg.BackoffMax = time.Millisecond, 20*time.Millisecond
	if c.config != nil {
		c.config(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		c.t.Fatalf("config: %v", err)
	}
	epoch := c.image.Load().NextBrokerEpoch
	c.commit(metadata.RegisterBrokerRecord{ID: id, Epoch: epoch, Incarnation: metadata.UUID{byte(id), byte(epoch)}, Fenced: true})
	n.epoch.Store(epoch)
	m := NewManager(cfg, nodeImages{c}, peersOf{n}, isrOf{n}, n.epoch.Load, slog.New(slog.DiscardHandler), nil)
	if c.listen != nil {
		c.listen(m)
	}
	c.mu.Lock()
	n.m = m
	c.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.done = stop, make(chan error, 1)
	n.dead.Store(false)
	go func(done chan error) { done <- m.Run(ctx) }(n.done)
	c.commit(metadata.BrokerChangeRecord{ID: id, Epoch: epoch, Fenced: new(false)})
}

// halt ends a broker's process cleanly.
func (n *node) halt() {
	n.dead.Store(true)
	n.stop()
	if err := <-n.done; err != nil {
		n.c.t.Errorf("broker %d: Run: %v", n.id, err)
	}
}

// manager is m for other goroutines than the test's.
func (n *node) manager() *Manager {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.m
}

type nodeImages struct{ c *cluster }

func (i nodeImages) Current() *metadata.Image { return i.c.image.Load() }

// commit replays records and publishes the image to all that live.
func (c *cluster) commit(records ...metadata.Record) {
	c.t.Helper()
	c.publishing.Lock()
	defer c.publishing.Unlock()
	c.commitLocked(records...)
}

func (c *cluster) commitLocked(records ...metadata.Record) {
	old := c.image.Load()
	d := metadata.NewDelta(old)
	if err := d.ReplayAll(records); err != nil {
		c.t.Fatalf("commit: %v", err)
		return
	}
	img := d.Image(old.Index+1, 1, consensus.Gate{})
	c.image.Store(img)
	for _, n := range c.nodes {
		if m := n.manager(); m != nil && !n.dead.Load() {
			m.OnImage(old, img)
		}
	}
}

// topic creates a topic of one partition; the first replica leads.
func (c *cluster) topic(name string, id byte, replicas []int32, configs ...string) metadata.UUID {
	c.t.Helper()
	uuid := metadata.UUID{id}
	records := []metadata.Record{
		metadata.TopicRecord{Name: name, ID: uuid},
		metadata.PartitionRecord{TopicID: uuid, Replicas: replicas, ISR: replicas, Leader: replicas[0]},
	}
	for i := 0; i < len(configs); i += 2 {
		records = append(records, metadata.ConfigRecord{
			Resource: metadata.ConfigResource{Type: metadata.TopicResource, Name: name},
			Name:     configs[i], Value: new(configs[i+1]),
		})
	}
	c.commit(records...)
	return uuid
}

// elect makes a broker the leader, or none.
func (c *cluster) elect(topic metadata.UUID, leader int32) {
	c.t.Helper()
	c.commit(metadata.PartitionChangeRecord{TopicID: topic, Leader: &leader})
}

// fence does what the controller does for a broker that died: it leaves the ISR
// unless it is the last there, and leadership goes to the first ISR member alive.
func (c *cluster) fence(id int32) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	img := c.image.Load()
	b, _ := img.Broker(id)
	records := []metadata.Record{metadata.BrokerChangeRecord{ID: id, Epoch: b.Epoch, Fenced: new(true)}}
	for t := range img.Topics() {
		for i, p := range t.Partitions {
			change := metadata.PartitionChangeRecord{TopicID: t.ID, Partition: int32(i)}
			isr := without(p.ISR, id)
			if len(isr) > 0 && len(isr) < len(p.ISR) {
				change.ISR = isr
			}
			if p.Leader == id {
				change.Leader = new(c.successor(img, p.Replicas, isr))
			}
			if change.ISR != nil || change.Leader != nil {
				records = append(records, change)
			}
		}
	}
	c.commitLocked(records...)
}

func (c *cluster) successor(img *metadata.Image, replicas, isr []int32) int32 {
	for _, id := range replicas {
		if b, ok := img.Broker(id); ok && !b.Fenced && slices.Contains(isr, id) {
			return id
		}
	}
	return metadata.NoLeader
}

func without(ids []int32, id int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(other int32) bool { return other == id })
}
