//go:build integration

package thirdparty

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

// TestGoModule builds a backend that has a module of its own, from a copy outside
// the repository, and loses leaders of a cluster of three that runs on it.
func TestGoModule(t *testing.T) {
	plugin := buildGoModule(t)
	info := command(t, ".", nil, binary, "plugin", "info", plugin)
	for _, want := range []string{"profiled-raft", "leader-transfer", "lan, small, wan", "sha256: "} {
		if !strings.Contains(info, want) {
			t.Errorf("plugin info prints no %q:\n%s", want, info)
		}
	}

	verified(t, filepath.Dir(plugin), "plugin", "verify", "./plugin", "--level", "2", "--quick", "--options", `{"profile": "small"}`)

	c := start(t, plugin, 3)
	ctx := within(t, 2*time.Minute)
	must(t, c.CreateTopic(ctx, c.Node(1), "orders", 2, 3, nil))
	w, err := lab.StartWorkload(ctx, c.Bootstrap(), "orders", 2, 200, 2)
	must(t, err)
	must(t, w.AwaitProgress(ctx, 100))

	leader, err := c.Leader(ctx, c.Node(1), "orders", 0)
	must(t, err)
	must(t, leader.Kill())
	must(t, w.AwaitProgress(ctx, 200))
	must(t, leader.Start())
	must(t, leader.AwaitReady(ctx))

	controller, err := c.Controller(ctx, leader)
	must(t, err)
	must(t, c.Node(controller).KillPlugin())
	must(t, w.AwaitProgress(ctx, 200))
	for _, n := range c.Nodes() {
		must(t, n.AwaitTopic(ctx, "orders", 3))
	}
	must(t, w.Stop(ctx))
	must(t, w.Verify(ctx, c.Bootstrap()...))

	must(t, c.Close()) // brokers end without a word to their plugins
	awaitNoPlugins(t, c)
}

func buildGoModule(t *testing.T) string {
	t.Helper()
	dir := copyOf(t, "thirdparty")
	command(t, dir, nil, "go", "mod", "edit", "-replace", "github.com/quorate/quorate="+root(t))
	command(t, dir, []string{"GOFLAGS=-mod=mod"}, "go", "test", "./...") // the kit, in process
	command(t, dir, []string{"GOFLAGS=-mod=mod"}, "go", "build", "-o", "plugin", ".")
	return filepath.Join(dir, "plugin")
}
