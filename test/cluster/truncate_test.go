//go:build integration

package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/test/lab"
)

// A leader that is cut off takes a record with acks=1 and dies. The others go on
// without that record; when the old leader returns it cuts it off, by epoch, and
// has what the others have.
func TestOldLeaderTruncates(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := start(t, lab.Options{Backend: backend, Nodes: 3, Proxies: true})
			oldLeaderTruncates(t, c)
		})
	}
}

func oldLeaderTruncates(t *testing.T, c *lab.Cluster) {
	ctx := within(t, 90*time.Second)
	const topic, lonely, shared = "diverging", "only on the old leader", "on the new leader"
	must(t, c.CreateTopic(ctx, c.Node(1), topic, 1, 3, nil))
	old, err := c.Leader(ctx, c.Node(1), topic, 0)
	must(t, err)
	producer, err := kgo.NewClient(kgo.SeedBrokers(old.Client), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	must(t, err)
	defer producer.Close()
	must(t, producer.ProduceSync(ctx, kgo.StringRecord("on all")).FirstErr())
	for _, n := range c.Nodes() {
		must(t, lab.Await(ctx, "the first record everywhere", dumped(n, topic, "on all", true)))
	}

	must(t, c.Isolate(old.ID, lab.Refused))
	must(t, producer.ProduceSync(ctx, kgo.StringRecord(lonely)).FirstErr())
	must(t, old.Kill())
	must(t, c.Heal())
	survivor := c.Node(old.ID%3 + 1)
	client, err := kgo.NewClient(kgo.SeedBrokers(survivor.Client), kgo.DefaultProduceTopic(topic), kgo.MetadataMinAge(50*time.Millisecond))
	must(t, err)
	defer client.Close()
	must(t, client.ProduceSync(ctx, kgo.StringRecord(shared)).FirstErr())

	must(t, old.Start())
	must(t, old.AwaitReady(ctx))
	must(t, old.AwaitTopic(ctx, topic, 3))
	for _, n := range c.Nodes() {
		must(t, lab.Await(ctx, "the new leader's record everywhere", dumped(n, topic, shared, true)))
		must(t, lab.Await(ctx, "the lonely record to be gone", dumped(n, topic, lonely, false)))
	}
	log, err := old.Log()
	must(t, err)
	if !strings.Contains(log, "truncat") {
		t.Errorf("node %d says nothing of the records that it cut off", old.ID)
	}
}

// dumped reports whether a partition's log on a node's disk holds a value, or
// does not.
func dumped(n *lab.Node, topic, value string, want bool) func(context.Context) (bool, string) {
	return func(ctx context.Context) (bool, string) {
		dump, err := logDump(ctx, n, topic, 0)
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(dump, value) == want, dump
	}
}
