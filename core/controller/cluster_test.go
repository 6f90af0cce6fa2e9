package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/core/interbroker"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// cluster is brokers in one bubble, joined by a log and a network that are
// steered by the test.
type cluster struct {
	t    *testing.T
	log  *consensustest.FakeCluster
	node map[int32]*node

	mu   sync.Mutex
	down map[int32]bool // the process is gone: connections are refused
	hung map[int32]bool // connections open, nothing answers
	lost int            // so many answers get lost on the way
}

// node is one broker as far as the controller is concerned.
type node struct {
	c            *cluster
	id           int32
	fake         *consensustest.Fake
	images       *metadata.Loader
	controller   *Controller
	client       *Client
	registration *Registration
	stop         context.CancelFunc
	done         sync.WaitGroup
}

func newCluster(t *testing.T, n int) *cluster {
	c := &cluster{t: t, log: consensustest.NewFakeCluster(n), node: map[int32]*node{}, down: map[int32]bool{}, hung: map[int32]bool{}}
	for id := range int32(n) {
		c.start(id + 1)
	}
	t.Cleanup(func() {
		for _, n := range c.node {
			n.stop()
		}
		for _, n := range c.node {
			n.done.Wait()
		}
	})
	return c
}

// start runs a broker's process: with a new incarnation if it ran before.
func (c *cluster) start(id int32) *node {
	n := &node{c: c, id: id, fake: c.log.Replica(uint64(id))}
	log := slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", id)
	cfg := testConfig(id)
	n.images = metadata.NewLoader(n.fake, consensus.Metadata, metadata.DefaultLoaderConfig(), log)
	n.controller = New(cfg, n.fake, n.images, c, log)
	n.client = NewClient(id, n.controller, c, n.leader, n.images, log)
	own := RegistrationConfig{
		Config:    cfg,
		Listeners: []metadata.Endpoint{{Name: "clients", Host: "h", Port: 9000 + id, Security: "PLAINTEXT"}},
		Cluster:   metadata.Endpoint{Name: "cluster", Host: "h", Port: 7000 + id, Security: "SSL"},
	}
	n.registration = NewRegistration(own, n.client, n.fake, n.images, log)
	ctx, cancel := context.WithCancel(c.t.Context())
	n.stop = cancel
	for _, run := range []func(context.Context) error{n.images.Run, n.controller.Run, n.registration.Run} {
		n.done.Go(func() {
			if err := run(ctx); err != nil {
				c.t.Errorf("broker %d: %v", id, err)
			}
		})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node[id], c.down[id] = n, false
	return n
}

// kill ends a broker's process without a word.
func (c *cluster) kill(id int32) {
	c.set(c.down, id, true)
	c.node[id].stop()
	c.node[id].done.Wait()
}

func (c *cluster) set(flags map[int32]bool, id int32, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	flags[id] = on
}

func (n *node) leader() (int32, bool) {
	l, _ := n.fake.LeaderFor(consensus.Metadata)
	return int32(l.Leader), l.Leader != consensus.NoLeader
}

// Request is the network: it implements Forwarder, through bytes.
func (c *cluster) Request(ctx context.Context, broker int32, _ string, req kmsg.Request) (kmsg.Response, error) {
	req.SetVersion(req.MaxVersion())
	c.mu.Lock()
	to, down, hung, lost := c.node[broker], c.down[broker], c.hung[broker], c.lost > 0
	if lost {
		c.lost--
	}
	c.mu.Unlock()
	if down {
		return nil, interbroker.ErrUnreachable
	}
	if hung {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", interbroker.ErrUncertain, ctx.Err())
	}
	frame := protocol.AppendRequest(nil, protocol.RequestHeader{}, req)[lengthBytes:]
	header, body, err := protocol.ParseHeader(frame)
	if err != nil {
		return nil, err
	}
	got, err := protocol.ParseRequest(header, body)
	if err != nil {
		return nil, err
	}
	resp := to.serve(ctx, got)
	resp.SetVersion(req.GetVersion())
	if lost {
		return nil, interbroker.ErrUncertain
	}
	return protocol.ParseResponse(protocol.AppendResponse(nil, header, resp)[lengthBytes:], req)
}

func (n *node) serve(ctx context.Context, req kmsg.Request) kmsg.Response {
	if e, ok := req.(*kmsg.EnvelopeRequest); ok {
		return n.client.HandleForwarded(ctx, e)
	}
	return n.client.HandleDirect(ctx, req)
}

// Probe implements Prober.
func (c *cluster) Probe(_ context.Context, broker int32) interbroker.ProbeResult {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down[broker] {
		return interbroker.Refused
	}
	return interbroker.Alive
}

// eventually waits, in the bubble's time, for a condition.
func (c *cluster) eventually(what string, within time.Duration, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("not within %v: %s", within, what)
		}
	}
	synctest.Wait()
}

func (c *cluster) allIn() {
	c.t.Helper()
	c.eventually("every broker is registered and unfenced", 2*time.Second, func() bool {
		for _, n := range c.node {
			if n.registration.Fenced() {
				return false
			}
		}
		return true
	})
}

func (n *node) create(ctx context.Context, name string, partitions int32, factor int16) (kmsg.CreateTopicsResponseTopic, error) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(7)
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	req.Topics = append(req.Topics, t)
	resp, err := n.client.Do(ctx, req)
	if err != nil {
		return kmsg.CreateTopicsResponseTopic{}, err
	}
	return resp.(*kmsg.CreateTopicsResponse).Topics[0], nil
}

func (n *node) mustCreate(name string, partitions int32, factor int16) {
	n.c.t.Helper()
	out, err := n.create(n.c.t.Context(), name, partitions, factor)
	if err != nil || out.ErrorCode != 0 {
		n.c.t.Fatalf("create %s: %v, %v", name, protocol.ErrorCode(out.ErrorCode), err)
	}
	if _, ok := n.images.Current().Topic(name); !ok {
		n.c.t.Fatalf("%s is created and not visible on broker %d", name, n.id)
	}
	synctest.Wait() // now it is visible everywhere
}

func (n *node) partition(topic string, p int) *metadata.Partition {
	t, ok := n.images.Current().Topic(topic)
	if !ok {
		return nil
	}
	return t.Partitions[p]
}
