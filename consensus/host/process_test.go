package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestLaunchAndStop(t *testing.T) {
	spec := specIn(t.TempDir())
	h := launch(t, spec)
	health := h.Health()
	if health.State != StateRunning || health.PID == 0 || health.PID == os.Getpid() || h.Describe().Backend != "file" {
		t.Fatalf("health %+v, description %+v", health, h.Describe())
	}
	eventually(t, "what the hop to the plugin costs, and which one it is", func() bool {
		h := h.Health()
		return h.HopP50 > 0 && h.HopP99 >= h.HopP50 && h.SHA256 == fileSum("/proc/self/exe")
	})
	lead := leader(t, h, 0)
	if r := propose(t, h, lead.Term, 1, "x"); r.Outcome != consensus.Committed || r.Index != 2 {
		t.Errorf("got %+v", r)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		if err := syscall.Kill(health.PID, sig); err != nil {
			t.Fatal(err)
		}
	}
	if r := propose(t, h, lead.Term, 2, "y"); r.Outcome != consensus.Committed {
		t.Errorf("after SIGTERM and SIGINT: got %+v", r)
	}
	h.stop()
	if err := <-h.ended; err != nil {
		t.Errorf("run: got %v", err)
	}
	if !gone(health.PID) || h.Health().State != StateStopped {
		t.Errorf("after the stop: %+v", h.Health())
	}
	if r := propose(t, h, lead.Term, 3, "z"); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrUnavailable) {
		t.Errorf("after the stop: got %+v", r)
	}
	if sockets, _ := filepath.Glob(spec.RunDir + "/plugin*"); len(sockets) != 0 {
		t.Errorf("left behind: %v", sockets)
	}
}

// TestCrash kills the plugin in every way it can die, under a subscription that
// must not notice.
func TestCrash(t *testing.T) {
	t.Parallel()
	h := launch(t, specIn(t.TempDir()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last atomic.Uint64
	subscribed := make(chan error, 1)
	go func() {
		subscribed <- h.Subscribe(ctx, consensus.Metadata, 1, func(b consensus.Batch) error {
			for _, e := range b.Entries {
				if e.Index != last.Load()+1 {
					return fmt.Errorf("entry %d after %d", e.Index, last.Load())
				}
				last.Store(e.Index)
			}
			return nil
		})
	}()
	deaths := []struct {
		name string
		kill func(term uint64)
	}{
		{"kill -9", func(uint64) {
			if err := syscall.Kill(h.Health().PID, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}},
		{"exit 70 with a proposal in flight", func(term uint64) {
			if r := propose(t, h, term, 2, orderCrash); r.Outcome != consensus.Unknown || !errors.Is(r.Err, consensus.ErrUnavailable) {
				t.Errorf("got %+v", r)
			}
		}},
		{"frozen", func(uint64) {
			if err := syscall.Kill(h.Health().PID, syscall.SIGSTOP); err != nil {
				t.Error(err)
			}
		}},
		{"loop stands", func(term uint64) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			h.Propose(ctx, consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: 2, Data: []byte(orderDeaf)})
		}},
	}
	term := uint64(0)
	for n, death := range deaths {
		term = leader(t, h, term).Term
		if r := propose(t, h, term, 1, "x"); r.Outcome != consensus.Committed {
			t.Fatalf("%s: got %+v", death.name, r)
		}
		death.kill(term)
		eventually(t, death.name+": no leader, same term", func() bool {
			l, _ := h.LeaderFor(consensus.Metadata)
			return l.Leader == consensus.NoLeader && l.Term == term || l.Term > term
		})
		eventually(t, death.name+": restart", func() bool { return h.Health().Restarts == n+1 })
		if h.Health().LastExit == "" {
			t.Errorf("%s: no reason is kept", death.name)
		}
	}
	term = leader(t, h, term).Term
	r := propose(t, h, term, 1, "end")
	eventually(t, "everything is delivered", func() bool { return last.Load() == r.Index })
	if want := uint64(2*len(deaths) + 2); r.Index != want {
		t.Errorf("the last index is %d, want %d", r.Index, want)
	}
	cancel()
	if err := <-subscribed; !errors.Is(err, context.Canceled) {
		t.Errorf("subscribe: got %v", err)
	}
}

// The Go runtime ends a process that panics with 2, which nobody can change: the
// reason says that it is a bug, and the process is started again as after a 70.
func TestPanic(t *testing.T) {
	t.Parallel()
	h := launch(t, specIn(t.TempDir()))
	term := leader(t, h, 0).Term
	if r := propose(t, h, term, 1, orderPanic); r.Outcome != consensus.Unknown {
		t.Errorf("got %+v", r)
	}
	leader(t, h, term)
	if why := h.Health().LastExit; !strings.Contains(why, "has a bug and crashed: panic: as ordered (exit status 2)") {
		t.Errorf("got %q", why)
	}
}

func TestStorageFailureIsFinal(t *testing.T) {
	t.Parallel()
	h := launch(t, specIn(t.TempDir()))
	lead := leader(t, h, 0)
	propose(t, h, lead.Term, 1, orderStorage)
	err := <-h.ended
	failed, ok := errors.AsType[*FailedError](err)
	if !ok || failed.ExitCode != consensus.ExitStorage || h.Health().State != StateFailed {
		t.Errorf("got %v, %+v", err, h.Health())
	}
	if _, err := collect(t.Context(), h, 1, 100); err == nil {
		t.Error("a subscription goes on without a backend")
	}
}

func TestLaunchErrors(t *testing.T) {
	held := specIn(t.TempDir())
	holder := launch(t, held)
	held.RunDir = t.TempDir()

	foreign := specIn(t.TempDir())
	writeFile(t, foreign.Start.DataDir+"/META.json", `{"backend":"other","format":1,"cluster_id":"c1","replica_id":7}`, 0o600)
	littered := specIn(t.TempDir())
	writeFile(t, littered.Start.DataDir+"/hello", "", 0o600)
	future := filepath.Join(t.TempDir(), "future")
	writeFile(t, future, "#!/bin/sh\necho '1|9|unix|/nowhere|grpc|'\nexec sleep 60\n", 0o700)
	script := filepath.Join(t.TempDir(), "plugin")
	writeFile(t, script, "#!/bin/sh\necho a banner\n", 0o700)
	external := func(path, sum string) Spec {
		s := specIn(t.TempDir())
		s.Name, s.Path, s.SHA256 = External, path, sum
		return s
	}
	with := func(f func(*Spec)) Spec {
		s := specIn(t.TempDir())
		f(&s)
		return s
	}
	tests := []struct {
		name string
		spec Spec
		code int
		want string
	}{
		{"locked", held, consensus.ExitLocked, fmt.Sprintf("is locked by process %d", holder.Health().PID)},
		{"another backend's data", foreign, consensus.ExitConfig, "holds data of backend other"},
		{"unknown data", littered, consensus.ExitConfig, "holds hello but no META.json"},
		{"no binary", external("/nowhere/plugin", ""), consensus.ExitConfig, "/nowhere/plugin does not exist"},
		{"not executable", external(littered.Start.DataDir+"/hello", ""), consensus.ExitConfig, "is not an executable file"},
		{"wrong checksum", external(script, strings.Repeat("ab", 32)), consensus.ExitConfig, "has the SHA-256 "},
		{"another major version", external(future, ""), consensus.ExitConfig, "speaks version 9 of the contract, this broker version 1: install"},
		{"not a plugin", external(script, fileSum(script)), 1, "Unrecognized remote plugin message: a banner"},
		{"storage fails", with(func(s *Spec) { s.Start.Options = options(t, map[string]string{"start_error": "storage"}) }), consensus.ExitStorage, "the disk is on fire"},
		{"port in use", with(func(s *Spec) { s.Start.Options = options(t, map[string]string{"start_error": "port"}) }), 1, "address already in use"},
		{"bad options", with(func(s *Spec) { s.Start.Options = options(t, map[string]int{"nonsense": 1}) }), consensus.ExitConfig, "option nonsense: is not an option; option other: is bad too"},
		{"capability missing", with(func(s *Spec) { s.Start.Required = []consensus.Capability{consensus.CapWitness} }), consensus.ExitConfig, "CAPABILITY_WITNESS"},
		{"no data to recover", with(func(s *Spec) { s.Groups[0].Mode = consensus.OpenRecover }), consensus.ExitConfig, "no data"},
		{"bad spec", with(func(s *Spec) { s.Path = "/x" }), consensus.ExitConfig, "is built in and takes no path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Launch(t.Context(), tt.spec, discard())
			exit, ok := errors.AsType[*ExitError](err)
			if !ok || exit.Code != tt.code || !strings.Contains(exit.Reason, tt.want) {
				t.Errorf("got %v\nwant code %d and %q", err, tt.code, tt.want)
			}
		})
	}
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// TestHostDies kills a host without warning: its plugin must not outlive it.
func TestHostDies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "host", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	// The orphan's new parent may not wait for it; a lock that is free says as
	// much as a pid that is.
	eventually(t, "the plugin follows its host", func() bool { return gone(pid) || zombie(pid) })
	launch(t, specIn(dir))
}

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && strings.HasPrefix(rest, "Z")
}

func TestLongRunDir(t *testing.T) {
	spec := specIn(t.TempDir())
	spec.RunDir = filepath.Join(t.TempDir(), strings.Repeat("long", 25))
	leader(t, launch(t, spec), 0)
}

func TestDescribe(t *testing.T) {
	spec := specIn(t.TempDir())
	spec.Start.Options = options(t, map[string]int{"nonsense": 1})
	d, problems, err := Describe(t.Context(), spec, discard())
	if err != nil || d.Backend != "file" || len(problems) != 2 {
		t.Errorf("got %+v, %v, %v", d, problems, err)
	}
	if files, _ := os.ReadDir(spec.Start.DataDir); len(files) != 0 {
		t.Errorf("describe wrote %v", files)
	}
}
