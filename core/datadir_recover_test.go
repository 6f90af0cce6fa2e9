package core_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/core"
)

// recoverable is a data directory with a partition and a log.
func recoverable(t *testing.T, id core.Identity) string {
	t.Helper()
	dir := t.TempDir()
	d, err := core.OpenDataDir(dir, id)
	must(t, err)
	must(t, d.Close())
	put(t, filepath.Join(dir, "orders-0", "partition.metadata"), "version: 0\ntopic_id: -wIDAAAAAAAAAAAAAAAAAA")
	put(t, filepath.Join(dir, "consensus", id.Backend, "log"), "old")
	return dir
}

func put(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(content), 0o600))
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func TestRecovery(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 1, Backend: "etcd-raft"}
	dir := recoverable(t, id)
	for _, incarnation := range []string{"one", "two"} { // it may happen again
		r, finished, err := core.OpenForRecovery(dir, id)
		must(t, err)
		if finished != "" {
			t.Errorf("an interrupted recovery was found: %q", finished)
		}
		before := content(t, filepath.Join(r.LogDir(), "log"))
		fresh, err := r.NewLogDir()
		must(t, err)
		put(t, filepath.Join(fresh, "rubbish"), "of an attempt that failed")
		fresh, err = r.NewLogDir()
		must(t, err)
		put(t, filepath.Join(fresh, "log"), incarnation)
		kept, err := r.Complete(incarnation)
		must(t, err)
		must(t, r.Close())
		if got := content(t, filepath.Join(kept, "log")); got != before {
			t.Errorf("kept %q, want %q", got, before)
		}
		if got := content(t, filepath.Join(r.LogDir(), "log")); got != incarnation {
			t.Errorf("the log is %q, want %q", got, incarnation)
		}
		if _, err := os.Stat(filepath.Join(r.LogDir(), "rubbish")); err == nil {
			t.Error("what an earlier attempt left is there")
		}
		if got, err := core.IncarnationOf(dir, "other"); err != nil || got != incarnation {
			t.Errorf("incarnation %q, %v", got, err)
		}
		must(t, core.CheckDataDir(dir, id))
	}
	id.Incarnation = "one"
	if err := core.CheckDataDir(dir, id); err == nil || !strings.Contains(err.Error(), `belongs to incarnation "two" of the cluster, but consensus/incarnation is "one"`) {
		t.Errorf("another incarnation: %v", err)
	}
}

// Whatever interrupts a recovery after the new log is complete, a node does not
// start, and the next recovery finishes it.
func TestRecoveryInterrupted(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 1, Backend: "etcd-raft"}
	steps := []struct {
		name string
		do   func(log string) error
	}{
		{"before the old log was moved", func(string) error { return nil }},
		{"before the new log was in place", func(log string) error { return os.Rename(log, log+".before-1") }},
		{"before the stamp", func(log string) error {
			if err := os.Rename(log, log+".before-1"); err != nil {
				return err
			}
			return os.Rename(log+".recovery", log)
		}},
	}
	for _, tt := range steps {
		t.Run(tt.name, func(t *testing.T) {
			dir := recoverable(t, id)
			log := filepath.Join(dir, "consensus", id.Backend)
			put(t, log+".recovery/log", "new")
			put(t, log+".recovered", "abc\n")
			must(t, tt.do(log))
			if err := core.CheckDataDir(dir, id); err == nil || !strings.Contains(err.Error(), "in the middle of a recovery") {
				t.Errorf("a node would start: %v", err)
			}
			r, finished, err := core.OpenForRecovery(dir, id)
			must(t, err)
			must(t, r.Close())
			if got := content(t, filepath.Join(log, "log")); finished != "abc" || got != "new" {
				t.Errorf("finished %q, the log is %q", finished, got)
			}
			must(t, core.CheckDataDir(dir, id))
		})
	}
}

// The new log is not complete: nothing has happened yet.
func TestRecoveryGivenUp(t *testing.T) {
	id := core.Identity{ClusterID: "prod", NodeID: 1, Backend: "etcd-raft"}
	dir := recoverable(t, id)
	r, _, err := core.OpenForRecovery(dir, id)
	must(t, err)
	fresh, err := r.NewLogDir()
	must(t, err)
	put(t, filepath.Join(fresh, "log"), "half")
	must(t, r.Close())
	d, err := core.OpenDataDir(dir, id)
	must(t, err)
	must(t, d.Close())
	if got := content(t, filepath.Join(dir, "consensus", id.Backend, "log")); got != "old" {
		t.Errorf("the log is %q", got)
	}
}
