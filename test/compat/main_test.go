//go:build integration

package compat

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

var backends = []string{"etcd-raft", "hashicorp-raft"}

var (
	binary   string
	clusters = map[string]*lab.Cluster{}
)

// TestMain starts one cluster per backend, which all tests share.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quorate-compat-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if binary = os.Getenv("QUORATE_BINARY"); binary == "" {
		binary = filepath.Join(dir, "quorate")
		if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/quorate").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build quorate: %v\n%s", err, out)
			return 1
		}
	}
	for _, backend := range backends {
		c, err := startCluster(filepath.Join(dir, backend), backend)
		if c != nil {
			defer c.Close()
			clusters[backend] = c
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if code != 0 {
		for backend, c := range clusters {
			fmt.Fprintf(os.Stderr, "=== %s\n%s", backend, c.Logs(40))
		}
	}
	return code
}

func startCluster(dir, backend string) (*lab.Cluster, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := lab.New(lab.Options{Binary: binary, Dir: dir, Backend: backend, Nodes: 3, Kafka: map[string]any{
		"default.replication.factor":       3,
		"min.insync.replicas":              2,
		"num.partitions":                   4,
		"offsets.topic.num.partitions":     4,
		"offsets.topic.replication.factor": 3,
	}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c, c.Start(ctx)
}

func forEachBackend(t *testing.T, test func(t *testing.T, c *lab.Cluster)) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) { test(t, clusters[backend]) })
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// need skips the test, loudly, if a program is missing; under CI it fails.
func need(t *testing.T, program, install string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing; %s", program, install)
	}
	t.Skipf("SKIPPED: %s is missing; %s", program, install)
}

// numbered is count lines, each with a prefix and its number.
func numbered(prefix string, count int) []string {
	lines := make([]string, count)
	for i := range lines {
		lines[i] = fmt.Sprintf("%s-%04d", prefix, i)
	}
	return lines
}

// command runs a program with lines as its input and returns the lines it printed.
func command(ctx context.Context, input []string, name string, args ...string) ([]string, error) {
	var stdout, stderr bytes.Buffer
	if err := start(ctx, input, &stdout, &stderr, name, args...); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stderr.String())
	}
	return lines(stdout.String()), nil
}

// combined runs a program and returns the lines it printed, errors among them.
func combined(ctx context.Context, name string, args ...string) ([]string, error) {
	var out bytes.Buffer
	if err := start(ctx, nil, &out, &out, name, args...); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out.String())
	}
	return lines(out.String()), nil
}

func start(ctx context.Context, input []string, stdout, stderr io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	if input != nil {
		cmd.Stdin = strings.NewReader(strings.Join(input, "\n") + "\n")
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

func lines(s string) []string {
	if s = strings.TrimRight(s, "\n"); s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// same compares what was consumed with what was produced, in any order.
func same(t *testing.T, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("consumed %d records, want %d\ngot  %.500q\nwant %.500q", len(got), len(want), got, want)
	}
}
