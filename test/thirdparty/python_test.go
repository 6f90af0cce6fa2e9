//go:build integration

package thirdparty

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

// TestPython builds the backend in Python from a copy outside the repository and
// runs a broker on it, through the deaths of the plugin and of the broker.
func TestPython(t *testing.T) {
	plugin := buildPython(t)
	info := command(t, ".", nil, binary, "plugin", "info", plugin)
	if !strings.Contains(info, "python-solo") {
		t.Errorf("plugin info says:\n%s", info)
	}

	command(t, ".", nil, binary, "plugin", "doctor", plugin)
	verified(t, ".", "plugin", "verify", plugin, "--level", "1", "--quick")

	c := start(t, plugin, 1)
	node := c.Node(1)
	ctx := within(t, 2*time.Minute)
	must(t, c.CreateTopic(ctx, node, "orders", 2, 1, nil))
	w, err := lab.StartWorkload(ctx, c.Bootstrap(), "orders", 2, 100, 1)
	must(t, err)
	must(t, w.AwaitProgress(ctx, 50))

	pid, err := node.PluginPID()
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGTERM)) // rule L5: that is not for it
	must(t, w.AwaitProgress(ctx, 20))
	if again, err := node.PluginPID(); err != nil || again != pid {
		t.Errorf("after SIGTERM the plugin is %d (%v), want still %d", again, err, pid)
	}

	must(t, node.KillPlugin())
	must(t, w.AwaitProgress(ctx, 50))
	must(t, node.AwaitReady(ctx))

	must(t, node.Kill())
	awaitNoPlugins(t, c) // rule L4
	must(t, node.Start())
	must(t, node.AwaitReady(ctx))
	must(t, w.AwaitProgress(ctx, 50))
	for i := range 5 { // what was decided before is still there, and more can be
		must(t, c.CreateTopic(ctx, node, fmt.Sprintf("after-%d", i), 1, 1, nil))
	}
	must(t, w.Stop(ctx))
	must(t, w.Verify(ctx, c.Bootstrap()...))

	must(t, node.Stop(within(t, 30*time.Second)))
	awaitNoPlugins(t, c)
}

// buildPython builds the plugin, or skips where that cannot be done.
func buildPython(t *testing.T) string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED, and so not tested: the plugin in Python, for want of python3")
	}
	dir := copyOf(t, "python")
	venv := exec.Command(python, "-m", "venv", filepath.Join(dir, "build", "venv"))
	if out, err := venv.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, and so not tested: the plugin in Python, for want of venv: %v\n%s", err, out)
	}
	pip := exec.Command(filepath.Join(dir, "build", "venv", "bin", "python"), "-m", "pip", "install", "--quiet", "-r", "requirements.txt")
	pip.Dir = dir
	if out, err := pip.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, and so not tested: the plugin in Python, for want of packages: %v\n%s", err, out)
	}
	proto := filepath.Join(root(t), "consensus", "consensuspb")
	return command(t, dir, []string{"PROTO=" + proto}, "./run.sh")
}
