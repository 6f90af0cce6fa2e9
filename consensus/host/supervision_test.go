package host

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/quorate/quorate/consensus"
)

// with returns a spec in a directory of its own, with options for the backend.
func with(t *testing.T, opts map[string]any, changes ...func(*Spec)) Spec {
	t.Helper()
	spec := specIn(t.TempDir())
	spec.Start.Options = options(t, opts)
	for _, change := range changes {
		change(&spec)
	}
	return spec
}

// order gives an order to the backend that has no outcome, or none to wait for.
func order(t *testing.T, h *launched, term, sequence uint64, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	h.Propose(ctx, consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: sequence, Data: []byte(what)})
}

func TestCrashLoop(t *testing.T) {
	t.Parallel()
	h := launch(t, with(t, nil, func(s *Spec) { s.Supervision.CrashLimit, s.Supervision.BackoffReset = 2, 2*time.Second }))
	term := uint64(0)
	for range 3 {
		term = leader(t, h, term).Term
		if h.Health().CrashLoop {
			t.Fatal("a crash loop before there were too many crashes")
		}
		propose(t, h, term, 1, orderCrash)
	}
	eventually(t, "a crash loop", func() bool { return h.Health().CrashLoop })
	health := h.Health()
	if !strings.Contains(strings.Join(health.LastLines, "\n"), "backend started") || !strings.Contains(health.LastExit, "exit status 70") {
		t.Errorf("got %+v", health)
	}
	leader(t, h, term)
	if !h.Health().CrashLoop {
		t.Error("one start does not end a crash loop")
	}
	eventually(t, "the crash loop is over", func() bool { return !h.Health().CrashLoop })
}

// A sync that takes long makes a plugin slow, and is no reason to kill it; one
// that never ends is.
func TestDiskStall(t *testing.T) {
	t.Parallel()
	h := launch(t, with(t, nil, func(s *Spec) {
		s.Supervision.SlowSync, s.Supervision.StuckSync = 20*time.Millisecond, 3*time.Second
	}))
	term := leader(t, h, 0).Term
	order(t, h, term, 1, orderSync)
	eventually(t, "slow", func() bool { return h.Health().State == StateSlow })
	if age := h.Health().SyncAge; age < 20*time.Millisecond {
		t.Errorf("a sync is in progress for %s", age)
	}
	if r := propose(t, h, term, 2, "x"); r.Outcome != consensus.Committed {
		t.Errorf("while the disk is slow: got %+v", r)
	}
	order(t, h, term, 3, orderSynced)
	eventually(t, "running again", func() bool { return h.Health().State == StateRunning })
	if health := h.Health(); health.Restarts != 0 || health.SyncAge != 0 {
		t.Errorf("a slow disk led to a restart, or is still slow: %+v", health)
	}
	order(t, h, term, 4, orderSync)
	eventually(t, "a restart", func() bool { return h.Health().Restarts == 1 })
	if why := h.Health().LastExit; !strings.Contains(why, "a sync has been under way for") {
		t.Errorf("got %q", why)
	}
	leader(t, h, term)
}

// A full window is refused at once, and nobody restarts the plugin for it.
func TestSlowPluginIsOverloaded(t *testing.T) {
	t.Parallel()
	h := launch(t, specIn(t.TempDir()))
	term := leader(t, h, 0).Term
	for n := range uint64(8) {
		order(t, h, term, n+1, orderHold)
	}
	if r := propose(t, h, term, 9, "x"); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrOverloaded) {
		t.Errorf("got %+v", r)
	}
	if health := h.Health(); health.State != StateRunning || health.Restarts != 0 {
		t.Errorf("got %+v", health)
	}
}

// A leader that is slow to commit hands over.
func TestSlowCommitsHandOver(t *testing.T) {
	t.Parallel()
	h := launch(t, with(t, map[string]any{"transfer": "works", "slow_ms": 30}, func(s *Spec) {
		s.Start.Timing.ElectionTimeout = 20 * time.Millisecond
		s.Supervision.SlowCommit, s.Supervision.SlowCommitFor = time.Millisecond, 600*time.Millisecond
	}))
	term := leader(t, h, 0).Term
	for n := uint64(1); n < 400; n++ { // some 12 s
		if r := propose(t, h, term, n, "x"); r.Outcome != consensus.Committed {
			break
		}
	}
	eventually(t, "another leader", func() bool { l, _ := h.LeaderFor(consensus.Metadata); return l.Leader == 8 })
	if p99 := h.Health().CommitP99; p99 < 30*time.Millisecond {
		t.Errorf("the 99th percentile of commits is %s", p99)
	}
}

// A plugin reads its log when the host has room, and keeps nothing for a host
// that does not read.
func TestSlowCore(t *testing.T) {
	t.Parallel()
	const entry = 1 << 20
	h := launch(t, with(t, map[string]any{"endless": entry}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var taken atomic.Uint64
	subscribed := make(chan error, 1)
	go func() {
		subscribed <- h.Subscribe(ctx, consensus.Metadata, 1, func(consensus.Batch) error {
			if taken.Add(1) == 5 {
				<-ctx.Done() // takes no more
			}
			return ctx.Err()
		})
	}()
	eventually(t, "five entries", func() bool { return taken.Load() == 5 })
	var before uint64
	eventually(t, "the plugin stops reading its log", func() bool {
		time.Sleep(50 * time.Millisecond) // what is read without end grows in this time
		s, err := h.Status(t.Context(), consensus.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		still := s.LogBytes == before
		before = s.LogBytes
		return still
	})
	if before > 16*entry {
		t.Errorf("the plugin has read %d entries ahead", before/entry-5)
	}
	cancel()
	if err := <-subscribed; !errors.Is(err, context.Canceled) {
		t.Errorf("subscribe: got %v", err)
	}
}

// A group that fails is opened again, under a subscription that does not notice;
// one that fails again costs the process its life.
func TestGroupFailed(t *testing.T) {
	t.Parallel()
	h := launch(t, specIn(t.TempDir()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last atomic.Uint64
	subscribed := make(chan error, 1)
	go func() {
		subscribed <- h.Subscribe(ctx, consensus.Metadata, 1, func(b consensus.Batch) error {
			for _, e := range b.Entries {
				last.Store(e.Index)
			}
			return nil
		})
	}()
	first := leader(t, h, 0).Term
	pid := h.Health().PID
	order(t, h, first, 1, orderFail)
	second := leader(t, h, first).Term
	if health := h.Health(); health.PID != pid || health.Restarts != 0 {
		t.Errorf("after the first failure: got %+v", health)
	}
	if r := propose(t, h, second, 1, "x"); r.Outcome != consensus.Committed {
		t.Errorf("after the first failure: got %+v", r)
	}
	order(t, h, second, 2, orderFail)
	third := leader(t, h, second).Term
	if health := h.Health(); health.Restarts != 1 || !strings.Contains(health.LastExit, "gave up on group 1 again: as ordered") {
		t.Errorf("after the second failure: got %+v", health)
	}
	r := propose(t, h, third, 1, "y")
	eventually(t, "everything is delivered", func() bool { return r.Index != 0 && last.Load() == r.Index })
	cancel()
	<-subscribed
}

// A group that fails whenever it is opened makes a crash loop, not a busy one.
func TestGroupFailsAlways(t *testing.T) {
	t.Parallel()
	h := launch(t, with(t, map[string]any{"fail_group": true}, func(s *Spec) { s.Supervision.CrashLimit = 1 }))
	eventually(t, "a crash loop", func() bool { return h.Health().CrashLoop })
}

func TestGroupFailedInProcess(t *testing.T) {
	c := inProc(t)
	first := leader(t, c, 0).Term
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	c.Propose(ctx, consensus.Proposal{Group: consensus.Metadata, Term: first, Sequence: 1, Data: []byte(orderFail)})
	leader(t, c, first)
}

func TestGracefulStop(t *testing.T) {
	t.Parallel()
	tests := []struct {
		transfer string
		want     bool // it was handed over
	}{{"works", true}, {"hangs", false}, {"", false}}
	for _, tt := range tests {
		t.Run("transfer "+tt.transfer, func(t *testing.T) {
			t.Parallel()
			spec := with(t, map[string]any{"transfer": tt.transfer})
			h := launch(t, spec)
			leader(t, h, 0)
			pid := h.Health().PID
			h.stop()
			if err := <-h.ended; err != nil || !gone(pid) {
				t.Errorf("run: got %v, process gone: %v", err, gone(pid))
			}
			if code := h.first.end; !strings.Contains(code.Error(), "exit status 0") {
				t.Errorf("the plugin did not stop in order: %v", code)
			}
			_, err := os.Stat(filepath.Join(spec.Start.DataDir, "group-1-handed-over"))
			if (err == nil) != tt.want {
				t.Errorf("handed over: %v", err == nil)
			}
		})
	}
}

// Whoever answers on the socket without the plugin's key is not talked to.
func TestForeignProcessOnTheSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	foreign := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(foreign, health.NewServer())
	go func() { _ = foreign.Serve(listener) }()
	defer foreign.Stop()
	certificate := base64.RawStdEncoding.EncodeToString([]byte("not one"))
	for _, cert := range []string{"", "|" + certificate} {
		script := filepath.Join(dir, fmt.Sprintf("plugin-%d", len(cert)))
		writeFile(t, script, fmt.Sprintf("#!/bin/sh\necho '1|1|unix|%s|grpc%s'\nexec sleep 60\n", socket, cert), 0o700)
		spec := specIn(t.TempDir())
		spec.Name, spec.Path = External, script
		spec.Supervision.LaunchAttempts, spec.Supervision.StartTimeout = 1, 2*time.Second
		_, err := Launch(t.Context(), spec, discard())
		exit, ok := errors.AsType[*ExitError](err)
		if !ok || exit.Code != exitFailure {
			t.Errorf("certificate %q: got %v", cert, err)
		}
	}
}

// A host that is frozen for longer than the lease finds its plugin gone, and
// starts another one.
func TestHostFrozen(t *testing.T) {
	t.Parallel()
	spec := specIn(t.TempDir())
	spec.Start.HostLease = 300 * time.Millisecond
	spec.Supervision.HealthInterval = 10 * time.Second // no call renews the lease
	h := launch(t, spec)
	eventually(t, "the plugin leaves", func() bool { return h.Health().Restarts > 0 })
	if why := h.Health().LastExit; !strings.Contains(why, "exit status 0") {
		t.Errorf("got %q", why)
	}
}

func TestLockedAtRestart(t *testing.T) {
	t.Parallel()
	spec := specIn(t.TempDir())
	h := launch(t, spec)
	leader(t, h, 0)
	lock, err := os.OpenFile(filepath.Join(spec.Start.DataDir, "LOCK"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	pid := h.Health().PID
	taken := make(chan error, 1)
	go func() { taken <- syscall.Flock(int(lock.Fd()), syscall.LOCK_EX) }() // waits for the plugin's end
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	failed, ok := errors.AsType[*FailedError](<-h.ended)
	if !ok || failed.ExitCode != consensus.ExitLocked || !strings.Contains(failed.Reason, "is locked by process") {
		t.Errorf("got %v", failed)
	}
}

// A lock that another process holds for a moment longer is waited for.
func TestLockReleasedInTime(t *testing.T) {
	t.Parallel()
	spec := specIn(t.TempDir())
	spec.Supervision.LockWait = 10 * time.Second
	lock, err := os.OpenFile(filepath.Join(spec.Start.DataDir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	tries := &triesLog{first: make(chan struct{})}
	type launch struct {
		h   *Host
		err error
	}
	up := make(chan launch, 1)
	go func() {
		h, err := Launch(t.Context(), spec, slog.New(slog.NewTextHandler(tries, nil)))
		up <- launch{h, err}
	}()
	select {
	case <-tries.first: // it was refused once, and told so
	case l := <-up:
		t.Fatalf("launched beside the lock: %v", l.err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	l := <-up
	if l.err != nil {
		t.Fatal(l.err)
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if err := l.h.Run(ended); err != nil {
		t.Error(err)
	}
}

// triesLog is a log in which the first refusal for a lock is looked for.
type triesLog struct {
	first chan struct{}
	once  sync.Once
}

func (l *triesLog) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "is locked by process") {
		l.once.Do(func() { close(l.first) })
	}
	return len(p), nil
}

// A stream that breaks is opened again, to the same process. One whose streams break
// again and again is of no use.
func TestStreamBreaks(t *testing.T) {
	t.Parallel()
	h := launch(t, specIn(t.TempDir()))
	term := leader(t, h, 0).Term
	pid := h.Health().PID
	for n := range sessionAttempts {
		s, err := h.await(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.cancel()
		<-s.done
		fresh, err := h.await(t.Context())
		if err != nil || fresh == s {
			t.Fatalf("break %d: no other session: %v", n+1, err)
		}
		lead := leader(t, h, 0)
		if health := h.Health(); health.PID != pid || health.Restarts != 0 || lead.Term != term {
			t.Fatalf("break %d: got %+v, %+v", n+1, health, lead)
		}
	}
	s, err := h.await(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.cancel()
	eventually(t, "a restart", func() bool { return h.Health().Restarts == 1 })
	leader(t, h, term)
}
