package controller

import (
	"context"
	"errors"
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

func TestClusterForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(2, 1)
		c.allIn()
		for id, n := range c.node { // through any node, visible there at once
			n.mustCreate(fmt.Sprint("from-", id), 2, 3)
		}
		img := c.node[1].images.Current()
		b, ok := img.Broker(3)
		if !ok || b.Epoch != c.node[3].registration.Epoch() || b.Cluster.Port != 7003 || b.Cluster.Security != "SSL" || len(b.Listeners) != 1 || b.Listeners[0].Name != "clients" {
			t.Errorf("broker 3 is registered as %+v", b)
		}
		if img.ClusterID != "test" {
			t.Errorf("cluster %q", img.ClusterID)
		}
		before := len(c.log.Entries())
		time.Sleep(10 * time.Second)
		if after := len(c.log.Entries()); after != before {
			t.Errorf("%d entries while nothing happened", after-before)
		}
	})
}

func TestDeadLeaderIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[1].mustCreate("orders", 3, 3)
		c.kill(3)
		c.eventually("broker 3 leads nothing and is in no isr", c.node[1].controller.cfg.ProbeAfter*2, func() bool {
			for p := range 3 {
				if got := c.node[2].partition("orders", p); got.Leader == 3 || len(got.ISR) != 2 {
					return false
				}
			}
			return true
		})
		old := c.node[3].registration.Epoch()
		c.start(3)
		c.allIn()
		if now := c.node[3].registration.Epoch(); now <= old {
			t.Errorf("registered with epoch %d after %d", now, old)
		}
	})
}

func TestHungBrokerIsFencedWhenItsSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[1].mustCreate("orders", 3, 3)
		c.node[3].stop() // its sockets stay open: a probe does not tell
		c.node[3].done.Wait()
		fenced := func() bool { b, _ := c.node[1].images.Current().Broker(3); return b.Fenced }
		time.Sleep(time.Second)
		if fenced() {
			t.Fatal("fenced before its session ended")
		}
		c.eventually("broker 3 is fenced", time.Second, fenced)
	})
}

func TestLastReplicaComesBackWithANewEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.log.Elect(1, 1)
		c.allIn()
		var name string
		for n := 0; name == ""; n++ { // one that broker 2 holds alone
			try := fmt.Sprint("t", n)
			c.node[1].mustCreate(try, 1, 1)
			if c.node[1].partition(try, 0).Leader == 2 {
				name = try
			}
		}
		c.kill(2)
		c.eventually("the partition has no leader", time.Second, func() bool { return c.node[1].partition(name, 0).Leader == metadata.NoLeader })
		if p := c.node[1].partition(name, 0); len(p.ISR) != 1 || p.ISR[0] != 2 || p.LeaderEpoch != 1 {
			t.Errorf("without a leader: %+v", p)
		}
		c.start(2)
		c.eventually("broker 2 leads again", time.Second, func() bool { return c.node[1].partition(name, 0).Leader == 2 })
		if p := c.node[1].partition(name, 0); p.LeaderEpoch != 2 {
			t.Errorf("with a leader again: %+v", p)
		}
	})
}

func TestQuickRestartIsANewEpochAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[1].mustCreate("orders", 1, 1)
		c.kill(1)
		c.start(1)
		c.log.Elect(1, 2)
		c.allIn()
		c.eventually("the partition is led", time.Second, func() bool { return c.node[1].partition("orders", 0).Leader == 1 })
		if p := c.node[1].partition("orders", 0); p.LeaderEpoch != 2 {
			t.Errorf("%+v", p)
		}
	})
}

func TestControllerFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[2].mustCreate("orders", 3, 3)
		c.kill(1)
		c.log.Elect(2, 2)
		c.eventually("the dead controller leads nothing", 200*time.Millisecond, func() bool {
			for p := range 3 {
				if c.node[3].partition("orders", p).Leader == 1 {
					return false
				}
			}
			return true
		})
		c.node[3].mustCreate("after", 1, 2)
		for _, id := range []int32{2, 3} {
			if b, _ := c.node[2].images.Current().Broker(id); b.Fenced {
				t.Errorf("broker %d was fenced by the failover", id)
			}
		}
	})
}

func TestHungControllerIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.set(c.hung, 1, true) // heartbeats to it wait
		time.Sleep(500 * time.Millisecond)
		c.log.Elect(2, 2)
		c.eventually("the new controller hears from broker 3", 200*time.Millisecond, func() bool {
			now := time.Now()
			term := c.node[2].controller.active.Load()
			return term != nil && term.live.silence(3, now) < now.Sub(term.live.start)
		})
		before := len(c.log.Entries())
		time.Sleep(5 * time.Second)
		if after := len(c.log.Entries()); after != before {
			t.Error("broker 3 waited for the hung controller and lost its session with the new one")
		}
	})
}

func TestControlledShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.log.Elect(1, 1)
		c.allIn()
		c.node[1].mustCreate("orders", 3, 3)
		epoch := c.node[3].registration.Epoch()
		if err := c.node[3].registration.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		for p := range 3 {
			if got := c.node[1].partition("orders", p); got.Leader == 3 || len(got.ISR) != 2 {
				t.Errorf("partition %d: %+v", p, got)
			}
		}
		time.Sleep(5 * time.Second)
		if b, _ := c.node[1].images.Current().Broker(3); !b.Fenced || b.Epoch != epoch {
			t.Errorf("it came back: %+v", b)
		}
		c.kill(3)
		c.start(3)
		c.allIn()
		if b, _ := c.node[1].images.Current().Broker(3); b.InControlledShutdown {
			t.Error("still leaving after a restart")
		}
	})
}

func TestTwoProcessesOfOneBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.log.Elect(1, 1)
		c.allIn()
		first := c.node[2]
		second := c.start(2)
		time.Sleep(5 * time.Second)
		if first.registration.Fenced() || !second.registration.Fenced() {
			t.Error("the second process took the first one's place")
		}
		first.stop()
		first.done.Wait()
		c.allIn()
	})
}

func TestForeignClusterStopsTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.log.Elect(1, 1)
		c.allIn()
		n := c.node[1]
		cfg := n.registration.cfg
		cfg.ClusterID = "other"
		foreign := NewRegistration(cfg, n.client, n.fake, n.images, slog.New(slog.DiscardHandler))
		if err := foreign.Run(t.Context()); protocol.CodeOf(err) != protocol.InconsistentClusterID && !errors.Is(err, protocol.Errorf(protocol.InconsistentClusterID, "")) {
			t.Errorf("got %v", err)
		}
		other := New(cfg.Config, n.fake, n.images, c, slog.New(slog.DiscardHandler))
		if err := other.Run(t.Context()); err == nil {
			t.Error("a controller decides over another cluster's log")
		}
	})
}
