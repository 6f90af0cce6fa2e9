//go:build integration

package cluster

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/test/lab"
)

var dumpedRecord = regexp.MustCompile(`(?m)^\| offset: \d+ .* key: "([^"]*)" payload: "([^"]*)"$`)

// A compacted topic is written while every node in turn is killed and started again.
// Afterwards all replicas, each compacted by its own node, agree on the last value of
// every key, and it is the one that was acknowledged last.
func TestCompactionSurvivesKills(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := start(t, lab.Options{Backend: backend, Nodes: 3, Kafka: map[string]any{"log.cleaner.backoff.ms": 100}})
			compactionSurvivesKills(t, c)
		})
	}
}

func compactionSurvivesKills(t *testing.T, c *lab.Cluster) {
	ctx := within(t, 3*time.Minute)
	const topic, keys = "state", 20
	must(t, c.CreateTopic(ctx, c.Node(1), topic, 1, 3, map[string]*string{
		"cleanup.policy": new("compact"), "segment.bytes": new("4096"), "min.cleanable.dirty.ratio": new("0.01"),
	}))
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...), kgo.DefaultProduceTopic(topic),
		kgo.MetadataMinAge(50*time.Millisecond), kgo.ProducerLinger(0))
	must(t, err)
	defer client.Close()
	want := map[string]string{}
	made := 0
	write := func(n int) {
		for range n {
			key, value := fmt.Sprint("key", made%keys), fmt.Sprint("value", made)
			must(t, client.ProduceSync(ctx, kgo.KeyStringRecord(key, value)).FirstErr())
			want[key] = value
			made++
		}
	}
	for _, n := range c.Nodes() {
		write(150)
		must(t, n.Kill())
		write(50)
		must(t, n.Start())
		must(t, n.AwaitReady(ctx))
		must(t, c.Node(1).AwaitTopic(ctx, topic, 3))
	}
	write(100)
	for _, n := range c.Nodes() {
		must(t, lab.Await(ctx, "a compacted replica with the last value of every key", func(ctx context.Context) (bool, string) {
			return compacted(ctx, n, topic, want, made)
		}))
	}
}

// compacted tells if a replica on disk has these last values, and far fewer records
// than were written.
func compacted(ctx context.Context, n *lab.Node, topic string, want map[string]string, written int) (bool, string) {
	dump, err := logDump(ctx, n, topic, 0)
	if err != nil {
		return false, err.Error()
	}
	got, records := map[string]string{}, 0
	for _, m := range dumpedRecord.FindAllStringSubmatch(dump, -1) {
		got[m[1]] = m[2]
		records++
	}
	for key, value := range want {
		if got[key] != value {
			return false, fmt.Sprintf("node %d: %s is %q, want %q", n.ID, key, got[key], value)
		}
	}
	return len(got) == len(want) && records < written/2, fmt.Sprintf("node %d: %d keys, %d records of %d", n.ID, len(got), records, written)
}
