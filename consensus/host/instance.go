package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
)

const (
	// exitWait is how long a process may take to exit after it has said that it
	// would, or after its streams have broken.
	exitWait = 2 * time.Second
	// sessionAttempts is how often streams are opened again to a process that
	// lives, before it is killed.
	sessionAttempts = 3
)

// instance is a started backend in its process, with a monitor and a session.
type instance struct {
	host     *Host
	proc     *process
	log      *slog.Logger
	started  time.Time
	stopping atomic.Bool
	killed   atomic.Pointer[string] // why, if the supervisor did it

	watched       context.Context // ends when the process needs no watching any more
	cancelMonitor context.CancelFunc
	background    sync.WaitGroup
	done          chan struct{} // closed when the process is gone and reaped
	end           *attemptError // why it ended; valid once done is closed
}

// startInstance brings a backend up: process, start, groups, session. After an
// error nothing of it is left.
func (h *Host) startInstance(ctx context.Context) (*instance, *attemptError) {
	h.state.set(StateStarting, 0)
	proc, err := startProcess(h.spec, h.pluginLog)
	if err != nil {
		return nil, judge(err, -1)
	}
	h.state.set(StateStarting, proc.pid())
	i := &instance{host: h, proc: proc, log: h.log.With("pid", proc.pid()), started: time.Now(), done: make(chan struct{})}
	i.startMonitor()
	h.failures.take() // they were another process's
	s, err := h.bringUp(ctx, proc.conn, h.spec.Start, h.groups())
	if err != nil {
		return nil, i.abort(ctx, err)
	}
	h.opened.Store(true)
	h.state.set(StateRunning, proc.pid())
	i.log.Info("consensus plugin runs")
	i.startRepair()
	go i.run(s)
	return i, nil
}

func (i *instance) startMonitor() {
	i.watched, i.cancelMonitor = context.WithCancel(context.Background())
	m := newMonitor(i.proc.conn, i.host.spec.Supervision, i.log, i.setSlow, i.answered)
	i.background.Go(func() {
		why := m.run(i.watched)
		if why == "" {
			return
		}
		i.killed.Store(new("it hung and was killed: " + why))
		i.host.state.set(StateHung, i.proc.pid())
		i.log.Error("consensus plugin hangs: killing it", "reason", why)
		i.proc.killHung(i.host.spec.Supervision.DumpGrace)
	})
}

// startRepair looks after groups that fail while the process lives.
func (i *instance) startRepair() {
	r := newRepair(i.proc.conn, i.host.spec.Groups, i.host.failures, i.log)
	i.background.Go(func() {
		why := r.run(i.watched)
		if why == "" || i.stopping.Load() {
			return
		}
		i.killed.Store(new("it was killed: " + why))
		i.log.Error("consensus plugin is of no use any more: killing it", "reason", why)
		i.proc.kill()
	})
}

func (i *instance) answered(took, loop, sync time.Duration) {
	i.host.hops.record(took)
	i.host.state.answered(loop, sync)
}

func (i *instance) setSlow(slow bool) {
	switch state := i.host.state.get().State; {
	case slow && state == StateRunning:
		i.host.state.set(StateSlow, i.proc.pid())
	case !slow && state == StateSlow:
		i.host.state.set(StateRunning, i.proc.pid())
	}
}

// abort ends an instance that did not come up because of err. The plugin is
// given time to say more by its exit code, if err sounds like last words.
func (i *instance) abort(ctx context.Context, err error) *attemptError {
	_, ours := errors.AsType[*attemptError](err)
	if !ours && (codeOf(err) != exitFailure || errors.Is(err, consensus.ErrUnavailable)) {
		i.proc.hasExited(exitWait)
	}
	i.cancelMonitor()
	i.proc.kill()
	i.background.Wait()
	exit := i.proc.exitCode()
	i.proc.reap()
	if ctx.Err() != nil {
		return &attemptError{err: ctx.Err(), code: exitFailure}
	}
	if errors.Is(err, consensus.ErrUnavailable) {
		err = fmt.Errorf("%w (%s)", err, i.proc.cmd.ProcessState)
	}
	return judge(err, exit)
}

// run keeps a session open until the process ends, and reaps it.
func (i *instance) run(s *session) {
	for attempt := 0; s != nil; {
		opened := time.Now()
		select {
		case <-i.proc.exited:
			s.end()
		case <-s.done:
		}
		if i.proc.hasExited(exitWait/10) || i.stopping.Load() {
			break
		}
		if attempt++; time.Since(opened) > i.host.spec.Supervision.BackoffReset {
			attempt = 1
		}
		i.log.Warn("a stream to the consensus plugin broke", "error", s.err, "attempt", attempt)
		s = i.reopen(attempt)
	}
	<-i.proc.exited
	i.cancelMonitor()
	i.background.Wait()
	exit := i.proc.exitCode()
	i.proc.reap()
	i.end = judge(i.whyEnded(), exit)
	close(i.done)
}

// reopen opens the streams again. If that does not help, the process is killed
// and there is no session.
func (i *instance) reopen(attempt int) *session {
	if attempt <= sessionAttempts {
		s, err := openSession(context.Background(), i.proc.conn, i.host.client)
		if err == nil {
			return s
		}
		i.log.Warn("the streams to the consensus plugin could not be opened again", "error", err)
	}
	if !i.proc.hasExited(exitWait) && !i.stopping.Load() {
		i.log.Error("consensus plugin is of no use any more: killing it")
		i.proc.kill()
	}
	return nil
}

func (i *instance) whyEnded() error {
	if why := i.killed.Load(); why != nil {
		return errors.New(*why)
	}
	if crash := i.proc.stderr.crashed(); crash != "" {
		return fmt.Errorf("the consensus plugin %s has a bug and crashed: %s (%s)", i.host.spec.Name, crash, i.proc.cmd.ProcessState)
	}
	return fmt.Errorf("the consensus plugin %s ended: %s", i.host.spec.Name, i.proc.cmd.ProcessState)
}

// stop ends the process: it is asked to, then loses its pipe, then is killed.
func (i *instance) stop() {
	i.stopping.Store(true)
	i.cancelMonitor()
	grace := i.host.spec.Supervision.StopGrace
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	req := &consensuspb.StopRequest{GraceMs: wire.Millis(grace), TransferLeadership: true}
	if _, err := consensuspb.NewConsensusClient(i.proc.conn).Stop(ctx, req); err != nil {
		i.log.Warn("the consensus plugin did not stop when asked", "error", wire.FromStatus(err))
	}
	_ = i.proc.death.Close()
	if !i.proc.hasExited(grace) {
		i.log.Error("consensus plugin does not exit: killing it")
		i.proc.kill()
	}
	<-i.done
}
