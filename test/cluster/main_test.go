//go:build integration

package cluster

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

// backends are the ones that are equals.
var backends = []string{"etcd-raft", "hashicorp-raft"}

var binary string

var keep = flag.String("keep", "", "the directory in which data and logs of failed clusters are left; empty: nowhere")

// TestMain builds the binary, unless QUORATE_BINARY names one.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if binary = os.Getenv("QUORATE_BINARY"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "quorate-cluster-test-")
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

// forEachBackend runs a test on every backend, each on three nodes of its own.
func forEachBackend(t *testing.T, test func(t *testing.T, c *lab.Cluster)) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) { test(t, start(t, lab.Options{Backend: backend, Nodes: 3})) })
	}
}

// start starts a cluster that ends with the test; if the test failed, the nodes'
// logs are shown.
func start(t *testing.T, opts lab.Options) *lab.Cluster {
	t.Helper()
	opts.Binary, opts.Dir = binary, clusterDir(t)
	settings := map[string]any{
		"default.replication.factor":       opts.Nodes,
		"min.insync.replicas":              min(2, opts.Nodes),
		"offsets.topic.num.partitions":     4,
		"offsets.topic.replication.factor": opts.Nodes,
	}
	maps.Copy(settings, opts.Kafka)
	opts.Kafka = settings
	c, err := lab.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs(60))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

// clusterDir is a directory that is removed with the test, unless failures are kept.
func clusterDir(t *testing.T) string {
	t.Helper()
	if *keep == "" {
		return t.TempDir()
	}
	//nolint:usetesting // what is kept must outlive the test
	dir, err := os.MkdirTemp(*keep, strings.ReplaceAll(t.Name(), "/", "-")+"-")
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept: %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
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
