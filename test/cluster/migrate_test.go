//go:build integration

package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	older := filepath.Join(c.Dir, "older.qa")
	if out, errs, err := c.Run(ctx, "consensus", "snapshot", "save", older); err != nil {
		t.Fatalf("snapshot save: %v\n%s%s", err, out, errs)
	}
	must(t, c.CreateTopic(ctx, c.Node(1), "younger", 1, 3, nil))
	before := whatClientsSee(ctx, t, c.Bootstrap()...)
	for _, to := range []string{backends[1], backends[0]} {
		move(ctx, t, c, to, older)
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

// move stops the cluster, carries its metadata over and starts it on the backend. What
// the new backend has then is what the former one had, and an export that is older than
// a topic is not taken.
func move(ctx context.Context, t *testing.T, c *lab.Cluster, to, older string) {
	t.Helper()
	for _, n := range c.Nodes() {
		must(t, n.Stop(ctx))
	}
	file := func(n *lab.Node) string { return filepath.Join(c.Dir, fmt.Sprintf("export-%d-to-%s", n.ID, to)) }
	onEveryNode(ctx, t, c, func(n *lab.Node) []string { return []string{"export", "--file", file(n)} })
	must(t, c.SetBackend(to))
	refusesOlder(ctx, t, c, c.Node(1), older)
	dryRun(ctx, t, c.Node(1), file(c.Node(1)), "would import into "+to+": ")
	onEveryNode(ctx, t, c, func(n *lab.Node) []string { return []string{"import", "--file", file(n)} })
	dryRun(ctx, t, c.Node(1), file(c.Node(1)), "node 1 is on "+to+" already")
	again := func(n *lab.Node) string { return file(n) + "-again" }
	onEveryNode(ctx, t, c, func(n *lab.Node) []string { return []string{"export", "--file", again(n)} })
	for _, n := range c.Nodes() {
		if out, errs, err := c.Run(ctx, "consensus", "diff", file(c.Node(1)), again(n)); err != nil {
			t.Errorf("what node %d has on %s is not what it had: %v\n%s%s", n.ID, to, err, out, errs)
		}
	}
	must(t, c.Start(ctx))
}

// refusesOlder checks that an export is refused with which the node would remove a
// partition, and that nothing happened.
func refusesOlder(ctx context.Context, t *testing.T, c *lab.Cluster, n *lab.Node, older string) {
	t.Helper()
	for _, args := range [][]string{{"--dry-run"}, nil} {
		_, errs, err := c.Run(ctx, append([]string{"consensus", "import", "--config", n.ConfigFile(), "--file", older}, args...)...)
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 78 || !strings.Contains(errs, "\n  younger-0, topic id ") || !strings.Contains(errs, "export again") {
			t.Errorf("import %v of an older export: %v\n%s", args, err, errs)
		}
	}
	if _, err := os.Stat(filepath.Join(n.DataDir(), "younger-0")); err != nil {
		t.Error(err)
	}
}

// dryRun checks what an import says that it would do.
func dryRun(ctx context.Context, t *testing.T, n *lab.Node, file, want string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, binary, "consensus", "import", "--dry-run", "--config", n.ConfigFile(), "--file", file)
	cmd.Dir = n.Dir
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("import --dry-run: %v\n%s, want %q", err, out, want)
	}
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
