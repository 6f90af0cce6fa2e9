//go:build integration

package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/quorate/quorate/test/lab"
)

// backends are the ones that are equals.
var backends = []string{"etcd-raft", "hashicorp-raft"}

// bin is a folder with the quorate binary, for PATH.
var bin string

// TestMain builds the binary, unless QUORATE_BINARY names one.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quorate-cli-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	if err := provide(filepath.Join(dir, "quorate")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// provide puts the binary to be tested at path.
func provide(path string) error {
	if given := os.Getenv("QUORATE_BINARY"); given != "" {
		return os.Symlink(given, path)
	}
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/quorate").CombinedOutput(); err != nil {
		return fmt.Errorf("build quorate: %w\n%s", err, out)
	}
	return nil
}

// Everything that needs no cluster.
func TestNode(t *testing.T) {
	scripts(t, "node", nil)
}

// The everyday commands work alike through every node; what is peculiar to a
// command is tried once on each backend.
func TestCluster(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			c := start(t, backend)
			for _, n := range c.Nodes() {
				t.Run(fmt.Sprintf("node-%d", n.ID), func(t *testing.T) {
					scripts(t, "everyday", []string{"QUORATE_BOOTSTRAP=" + n.Client, fmt.Sprintf("ME=node%d", n.ID)})
				})
			}
			env := append(addresses(c), "QUORATE_BOOTSTRAP="+c.Node(1).Client)
			t.Run("together", func(t *testing.T) { scripts(t, "cluster", env) })
			t.Run("alone", func(t *testing.T) { scripts(t, "consensus", env) }) // it moves leaders
		})
	}
}

// scripts runs the scripts of a folder below testdata, each with its own folder
// to work in.
func scripts(t *testing.T, folder string, env []string) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", folder),
		Cmds:          commands,
		Deadline:      time.Now().Add(2 * time.Minute),
		Condition:     condition,
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, env...)
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			return nil
		},
	})
}

// condition is what scripts may ask for in brackets: root may write everywhere.
func condition(name string) (bool, error) {
	if name == "root" {
		return os.Getuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// start starts three nodes that end with the test.
func start(t *testing.T, backend string) *lab.Cluster {
	t.Helper()
	c, err := lab.New(lab.Options{
		Binary: filepath.Join(bin, "quorate"), Dir: t.TempDir(), Backend: backend, Nodes: 3,
		Kafka: map[string]any{"offsets.topic.num.partitions": 4, "group.initial.rebalance.delay.ms": 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Logs(30))
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// addresses are NODE1 and so on for clients, RAFT1 and so on for replicas, and the
// admin listeners of all.
func addresses(c *lab.Cluster) []string {
	var env, admin []string
	for _, n := range c.Nodes() {
		env = append(env, fmt.Sprintf("NODE%d=%s", n.ID, n.Client), fmt.Sprintf("RAFT%d=%s", n.ID, n.Raft))
		admin = append(admin, n.Admin)
	}
	return append(env, "QUORATE_ADMIN="+strings.Join(admin, ","))
}
