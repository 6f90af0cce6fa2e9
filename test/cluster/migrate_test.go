//go:build integration

package cluster

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/test/lab"
)

// A cluster with topics, settings, records and a group moves from one backend to
// the other and back. Clients find the same topic ids, offsets and positions.
func TestMoveBetweenBackends(t *testing.T) {
	c := start(t, lab.Options{Backend: backends[0], Nodes: 3})
	ctx := within(t, 3*time.Minute)
	must(t, c.CreateTopic(ctx, c.Node(1), "moved", 3, 3, map[string]*string{"retention.ms": new("86400000")}))
	w, err := lab.StartWorkload(ctx, c.Bootstrap(), "moved", 3, 500, 1)
	must(t, err)
	must(t, w.AwaitProgress(ctx, 300))
	must(t, w.Stop(ctx))
	consumeGroup(ctx, t, c, "moved", "movers", 100)
	before := whatClientsSee(ctx, t, c.Bootstrap()...)
	for _, to := range []string{backends[1], backends[0]} {
		move(ctx, t, c, to)
		for _, n := range c.Nodes() {
			must(t, n.AwaitTopic(ctx, "moved", 3))
			must(t, w.Verify(ctx, n.Client))
		}
		if after := whatClientsSee(ctx, t, c.Bootstrap()...); !maps.Equal(after, before) {
			t.Errorf("on %s clients see %v, before %v", to, after, before)
		}
	}
	client, err := lab.Client(c.Bootstrap()...)
	must(t, err)
	defer client.Close()
	must(t, client.ProduceSync(ctx, &kgo.Record{Topic: "moved", Value: []byte("999999")}).FirstErr())
}

// move stops the cluster, carries its metadata over and starts it on the backend.
func move(ctx context.Context, t *testing.T, c *lab.Cluster, to string) {
	t.Helper()
	for _, n := range c.Nodes() {
		must(t, n.Stop(ctx))
	}
	file := func(n *lab.Node) string { return filepath.Join(c.Dir, fmt.Sprintf("export-%d-to-%s", n.ID, to)) }
	onEveryNode(ctx, t, c, func(n *lab.Node) []string { return []string{"export", "--file", file(n)} })
	must(t, c.SetBackend(to))
	onEveryNode(ctx, t, c, func(n *lab.Node) []string { return []string{"import", "--file", file(n)} })
	must(t, c.Start(ctx))
}

// onEveryNode runs a `quorate consensus` command for every node at once.
func onEveryNode(ctx context.Context, t *testing.T, c *lab.Cluster, args func(*lab.Node) []string) {
	t.Helper()
	var g errgroup.Group
	for _, n := range c.Nodes() {
		g.Go(func() error {
			all := append([]string{"consensus"}, args(n)...)
			cmd := exec.CommandContext(ctx, binary, append(all, "--config", n.ConfigFile(), "--linger", "3s")...)
			cmd.Dir = n.Dir
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("node %d: %v: %w\n%s", n.ID, all, err, out)
			}
			return nil
		})
	}
	must(t, g.Wait())
}

// whatClientsSee is a topic's id, setting and ends, and a group's positions.
func whatClientsSee(ctx context.Context, t *testing.T, bootstrap ...string) map[string]string {
	t.Helper()
	client, err := lab.Client(bootstrap...)
	must(t, err)
	defer client.Close()
	adm := kadm.NewClient(client)
	out := map[string]string{}
	topics, err := adm.ListTopics(ctx, "moved")
	must(t, err)
	out["id"] = topics["moved"].ID.String()
	configs, err := adm.DescribeTopicConfigs(ctx, "moved")
	must(t, err)
	for _, r := range configs {
		for _, setting := range r.Configs {
			if setting.Key == "retention.ms" {
				out["retention.ms"] = setting.MaybeValue()
			}
		}
	}
	ends, err := adm.ListEndOffsets(ctx, "moved")
	must(t, err)
	must(t, ends.Error())
	ends.Each(func(o kadm.ListedOffset) { out[fmt.Sprint("end ", o.Partition)] = fmt.Sprint(o.Offset) })
	committed, err := adm.FetchOffsets(ctx, "movers")
	must(t, err)
	committed.Each(func(o kadm.OffsetResponse) { out[fmt.Sprint("committed ", o.Partition)] = fmt.Sprint(o.At) })
	return out
}
