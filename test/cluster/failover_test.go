//go:build integration

package cluster

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

var kills = flag.Int("kills", 3, "how many leaders TestFailoverTime kills on each backend")

// TestFailoverTime measures what a producer sees when the broker that leads its
// partition is killed: the time without an acknowledgement. It asserts nothing
// about the time; it prints it.
func TestFailoverTime(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, time.Duration(*kills)*time.Minute)
		must(t, c.CreateTopic(ctx, c.Node(1), "failover", 1, 3, nil))
		var gaps []time.Duration
		for range *kills {
			gaps = append(gaps, failoverOnce(t, c))
		}
		slices.Sort(gaps)
		t.Logf("failover over %d kills: min %v, median %v, max %v", len(gaps), gaps[0], gaps[len(gaps)/2], gaps[len(gaps)-1])
	})
}

func failoverOnce(t *testing.T, c *lab.Cluster) time.Duration {
	t.Helper()
	ctx := within(t, time.Minute)
	w, err := lab.StartWorkload(ctx, c.Bootstrap(), "failover", 1, 200, 1)
	must(t, err)
	must(t, w.AwaitProgress(ctx, 50))
	leader, err := c.Leader(ctx, c.Node(1), "failover", 0)
	must(t, err)
	must(t, leader.Kill())
	must(t, w.AwaitProgress(ctx, 200))
	gap := w.LongestGap()
	must(t, w.Stop(ctx))
	must(t, leader.Start())
	must(t, leader.AwaitReady(ctx))
	must(t, leader.AwaitTopic(ctx, "failover", 3))
	return gap
}
