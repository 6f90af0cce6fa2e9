//go:build integration

package cluster

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

var soakTime = flag.Duration("soak", 0, "how long TestSoak loads each backend; 0 skips it")

// TestSoak loads three nodes for a while, without a fault: no crash, no change
// of leader, no lost record.
func TestSoak(t *testing.T) {
	if *soakTime == 0 {
		t.Skip("not asked for: make soak")
	}
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, *soakTime+3*time.Minute)
		const topic, partitions = "soak", 12
		must(t, c.CreateTopic(ctx, c.Node(1), topic, partitions, 3, nil))
		before := leaders(ctx, t, c, topic, partitions)
		w, err := lab.StartWorkload(ctx, c.Bootstrap(), topic, partitions, 1000, 1)
		must(t, err)
		timer := time.NewTimer(*soakTime)
		<-timer.C
		must(t, w.Stop(ctx))
		if after := leaders(ctx, t, c, topic, partitions); after != before {
			t.Errorf("leaders changed without a fault:\nbefore %s\nafter  %s", before, after)
		}
		for _, n := range c.Nodes() {
			if !n.Running() {
				t.Errorf("node %d has ended", n.ID)
			}
		}
		must(t, w.Verify(ctx, c.Bootstrap()...))
		t.Logf("%d records in %v, longest gap %v", w.Acked(), *soakTime, w.LongestGap())
	})
}

// leaders is who leads each partition and the metadata, and in which epoch.
func leaders(ctx context.Context, t *testing.T, c *lab.Cluster, topic string, partitions int32) string {
	t.Helper()
	out, err := c.Leaders(ctx, c.Node(1), topic)
	must(t, err)
	if len(out) != int(partitions) {
		t.Fatalf("%d partitions, want %d", len(out), partitions)
	}
	controller, err := c.Controller(ctx, c.Node(1))
	must(t, err)
	return fmt.Sprintf("controller %d, %v", controller, out)
}
