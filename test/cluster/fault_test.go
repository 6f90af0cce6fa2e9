//go:build integration

package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/test/lab"
)

const (
	faultTopic      = "faults"
	faultPartitions = 4
	faultRate       = 400 // records a second
)

// underLoad starts a workload, breaks something, and wants every acknowledged
// record there, once, through every node, when all is mended.
func underLoad(t *testing.T, c *lab.Cluster, breakAndMend func(t *testing.T, w *lab.Workload)) *lab.Workload {
	t.Helper()
	ctx := within(t, 3*time.Minute)
	must(t, c.CreateTopic(ctx, c.Node(1), faultTopic, faultPartitions, 3, nil))
	w, err := lab.StartWorkload(ctx, c.Bootstrap(), faultTopic, faultPartitions, faultRate, 1)
	must(t, err)
	must(t, w.AwaitProgress(ctx, 200))
	breakAndMend(t, w)
	must(t, w.AwaitProgress(ctx, 200))
	must(t, w.Stop(ctx))
	for _, n := range c.Nodes() {
		must(t, n.AwaitTopic(ctx, faultTopic, 3))
		must(t, w.Verify(ctx, n.Client))
	}
	t.Logf("%d records acknowledged, longest gap %v", w.Acked(), w.LongestGap())
	return w
}

func TestKillLeader(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		underLoad(t, c, func(t *testing.T, w *lab.Workload) {
			ctx := within(t, time.Minute)
			leader, err := c.Leader(ctx, c.Node(1), faultTopic, 0)
			must(t, err)
			must(t, leader.Kill())
			must(t, w.AwaitProgress(ctx, 400))
			survivor := c.Node(leader.ID%3 + 1)
			must(t, lab.Await(ctx, "another leader", func(ctx context.Context) (bool, string) {
				successor, err := c.Leader(ctx, survivor, faultTopic, 0)
				if err != nil {
					return false, err.Error()
				}
				return successor.ID != leader.ID, fmt.Sprintf("node %d leads", successor.ID)
			}))
			// The old leader comes back with what it had, cuts what the others do not
			// have, and joins the ISR again: underLoad waits for that.
			must(t, leader.Start())
			must(t, leader.AwaitReady(ctx))
		})
	})
}

func TestKillPlugin(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		underLoad(t, c, func(t *testing.T, w *lab.Workload) {
			ctx := within(t, time.Minute)
			for _, n := range c.Nodes() {
				must(t, n.KillPlugin())
				must(t, w.AwaitProgress(ctx, 200))
				must(t, n.AwaitReady(ctx))
			}
		})
		for _, n := range c.Nodes() {
			if !n.Running() {
				t.Errorf("node %d did not survive the death of its plugin", n.ID)
			}
		}
	})
}

func TestKillAll(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		underLoad(t, c, func(t *testing.T, _ *lab.Workload) {
			for _, n := range c.Nodes() {
				must(t, n.Kill())
			}
			must(t, c.Start(within(t, time.Minute)))
		})
	})
}

func TestPauseLeader(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		underLoad(t, c, func(t *testing.T, w *lab.Workload) {
			ctx := within(t, time.Minute)
			leader, err := c.Leader(ctx, c.Node(1), faultTopic, 0)
			must(t, err)
			must(t, leader.Pause())
			must(t, w.AwaitProgress(ctx, 200))
			must(t, leader.Resume())
		})
	})
}

// A controller that hangs, while its plugin lives on, is replaced: the plugin does
// not keep the leadership for a host that decides nothing.
func TestPauseController(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, time.Minute)
		id, err := c.Controller(ctx, c.Node(1))
		must(t, err)
		hanging, other := c.Node(id), c.Node(id%3+1)
		must(t, hanging.Pause())
		defer func() { must(t, hanging.Resume()) }()
		begun := time.Now()
		client, err := lab.Client(other.Client)
		must(t, err)
		defer client.Close()
		must(t, client.Ping(ctx)) // the client learns which node has which id
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 1000
		req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "without-controller", NumPartitions: 1, ReplicationFactor: 2}}
		must(t, lab.Await(ctx, "a topic made without the controller", func(ctx context.Context) (bool, string) {
			resp, err := client.Broker(other.ID).Request(ctx, req)
			if err != nil {
				return false, err.Error()
			}
			code := protocol.ErrorCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
			return code == protocol.None || code == protocol.TopicAlreadyExists, code.String()
		}))
		t.Logf("decided after %v", time.Since(begun))
	})
}

func TestRollingRestart(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		underLoad(t, c, func(t *testing.T, w *lab.Workload) {
			for _, n := range c.Nodes() {
				ctx := within(t, time.Minute)
				must(t, n.Stop(ctx))
				must(t, w.AwaitProgress(ctx, 100))
				must(t, n.Start())
				must(t, n.AwaitReady(ctx))
				must(t, n.AwaitTopic(ctx, faultTopic, 3))
			}
		})
	})
}

// Brokers and plugins talk over mutual TLS when they are told to.
func TestClusterTLS(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := start(t, lab.Options{Backend: backend, Nodes: 3, ClusterTLS: true})
			underLoad(t, c, func(*testing.T, *lab.Workload) {})
		})
	}
}
