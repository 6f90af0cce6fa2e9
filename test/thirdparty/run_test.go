//go:build integration

package thirdparty

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

// TestPluginRun works on a plugin as its author does, with `quorate plugin run`
// beside the editor: a cluster of three comes up, a save restarts it with its
// data, what does not build leaves it alone, and Ctrl-C leaves nothing behind.
func TestPluginRun(t *testing.T) {
	dir := copyOf(t, "thirdparty")
	command(t, dir, nil, "go", "mod", "edit", "-replace", "github.com/quorate/quorate="+root(t))
	source := filepath.Join(dir, "profiledraft", "backend.go")
	content, err := os.ReadFile(source)
	must(t, err)
	save := func(content []byte) {
		t.Helper()
		must(t, os.WriteFile(source, content, 0o644))
	}

	r := runPlugin(t, dir)
	ready := regexp.MustCompile(`ready on (127\.0\.0\.1:\d+),(127\.0\.0\.1:\d+),(127\.0\.0\.1:\d+)\.`)
	r.await(t, `profiled-raft 0\.1\.0: starting 3 nodes`)
	first := r.await(t, ready.String())
	r.quorate(t, "hello\n", "produce", "quickstart", "-b", first[1])

	save(bytes.Replace(content, []byte(`"0.1.0"`), []byte(`"0.2.0"`), 1))
	r.await(t, `profiled-raft 0\.2\.0: restarting 3 nodes`)
	if again := r.await(t, ready.String()); again[0] != first[0] {
		t.Errorf("it is %s, and was %s", again[0], first[0])
	}
	if got := r.quorate(t, "", "consume", "quickstart", "-o", "start", "-e", "-b", first[3]); got != "hello\n" {
		t.Errorf("after the restart %q is consumed, want hello", got)
	}

	save(append(bytes.Clone(content), "func broken( {\n"...))
	r.await(t, `backend\.go:\d+:\d+: syntax error`)
	r.await(t, "what was running goes on")
	r.quorate(t, "still here\n", "produce", "quickstart", "-b", first[2])

	save(bytes.Replace(content, []byte("\nfunc New() "), []byte("\nfunc init() { panic(\"a bug\") }\n\nfunc New() "), 1))
	r.await(t, "a bug|doctor")
	r.await(t, "what was running goes on")
	r.quorate(t, "still here\n", "produce", "quickstart", "-b", first[2])

	save(bytes.Replace(content, []byte(`"0.1.0"`), []byte(`"0.2.0"`), 1))
	r.await(t, "nothing has changed")

	must(t, r.cmd.Process.Signal(os.Interrupt))
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C it ends with %v", err)
	}
	r.leavesNothing(t)

	killed := runPlugin(t, dir)
	killed.await(t, ready.String())
	must(t, killed.cmd.Process.Kill())
	_ = killed.cmd.Wait() // it was killed
	killed.leavesNothing(t)
}

// leavesNothing wants every process and every file of it to go.
func (r *running) leavesNothing(t *testing.T) {
	t.Helper()
	must(t, lab.Await(within(t, time.Minute), "every process to end, and every file to be removed", func(context.Context) (bool, string) {
		files, err := os.ReadDir(r.temporary)
		left := processesIn(r.temporary)
		return err == nil && len(files) == 0 && len(left) == 0, fmt.Sprintf("%v %v; %s", files, err, strings.Join(left, "; "))
	}))
}

// running is `quorate plugin run`, with everything that it has said.
type running struct {
	cmd       *exec.Cmd
	temporary string

	mu      sync.Mutex
	said    []byte
	at      int // up to where await has read
	changed chan struct{}
}

func runPlugin(t *testing.T, dir string) *running {
	t.Helper()
	temporary, err := os.MkdirTemp("", "run") //nolint:usetesting // a short path: sockets are below it
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(temporary) }) // empty, or told
	r := &running{temporary: temporary, changed: make(chan struct{}, 1)}
	r.cmd = exec.Command(binary, "plugin", "run", dir, "--log-level", "warn")
	r.cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "TMPDIR="+temporary)
	r.cmd.Stdout, r.cmd.Stderr = r, r
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, r.cmd.Start())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("plugin run says:\n%s", r.said)
		}
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) // gone already, unless the test failed
	})
	return r
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, p...)
	select {
	case r.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

// await waits until something is said, behind what was awaited before, and
// returns the match and its groups.
func (r *running) await(t *testing.T, pattern string) []string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	patience := time.After(3 * time.Minute)
	for {
		r.mu.Lock()
		at := want.FindSubmatchIndex(r.said[r.at:])
		var groups []string
		if at != nil {
			for _, g := range want.FindSubmatch(r.said[r.at:]) {
				groups = append(groups, string(g))
			}
			r.at += at[1]
		}
		r.mu.Unlock()
		if groups != nil {
			return groups
		}
		select {
		case <-r.changed:
		case <-patience:
			t.Fatalf("plugin run does not say %q", pattern)
		}
	}
}

// quorate runs another command against the cluster.
func (r *running) quorate(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(within(t, time.Minute), binary, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("quorate %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// processesIn lists the processes that have a folder in their command line.
func processesIn(dir string) (found []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && bytes.Contains(line, []byte(dir)) {
			found = append(found, fmt.Sprintf("%s: %q", file, line))
		}
	}
	return found
}
