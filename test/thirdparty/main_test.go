//go:build integration

package thirdparty

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

var binary string

// TestMain builds the binary, unless QUORATE_BINARY names one.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if binary = os.Getenv("QUORATE_BINARY"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "quorate-thirdparty-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "quorate")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/quorate").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build quorate: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// copyOf copies an example out of the repository.
func copyOf(t *testing.T, example string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), example)
	must(t, os.CopyFS(dir, os.DirFS(filepath.Join("../../plugins/examples", example))))
	return dir
}

// root is the repository's absolute path.
func root(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../..")
	must(t, err)
	return path
}

// command runs a program in a folder and returns what it printed on stdout.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(within(t, 10*time.Minute), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// start starts a cluster on an external plugin that ends with the test; if the
// test failed, the nodes' logs are shown.
func start(t *testing.T, plugin string, nodes int) *lab.Cluster {
	t.Helper()
	c, err := lab.New(lab.Options{
		Binary: binary, Dir: t.TempDir(), Backend: "external", External: plugin, Nodes: nodes,
		Kafka: map[string]any{
			"default.replication.factor": nodes, "min.insync.replicas": min(2, nodes),
			"offsets.topic.num.partitions": 4, "offsets.topic.replication.factor": nodes,
		},
	})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs(60))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, c.Start(within(t, time.Minute)))
	return c
}

// within is a context for one step of a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// must ends the test if a step failed.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// awaitNoPlugins waits until no plugin of a cluster is left.
func awaitNoPlugins(t *testing.T, c *lab.Cluster) {
	t.Helper()
	must(t, lab.Await(within(t, 10*time.Second), "every plugin to end", func(context.Context) (bool, string) {
		pids, err := c.Plugins()
		return err == nil && len(pids) == 0, fmt.Sprintf("processes %v (%v)", pids, err)
	}))
}
