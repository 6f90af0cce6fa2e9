package host

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
)

// Host is a supervised backend, and its client. Its methods of consensus.Client
// may be called concurrently, from Launch on and also while the process is being
// restarted.
type Host struct {
	*client
	spec      Spec
	log       *slog.Logger
	pluginLog *slog.Logger // for what the plugin logs, which names its own component
	state     state
	hops      *latency    // of answers to the simplest question
	opened    atomic.Bool // the groups have been opened once, so that data must exist from now on

	first *instance // from Launch, for Run
}

// Launch starts the backend and returns once its groups are open. Failures that
// may pass are tried again a few times; the error is an *ExitError, or ctx's.
// After success Run must be called: it is what ends the process.
func Launch(ctx context.Context, spec Spec, log *slog.Logger) (*Host, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, &ExitError{Code: consensus.ExitConfig, Reason: err.Error(), Err: err}
	}
	pluginLog := log.With("plugin", spec.Name)
	log = pluginLog.With("component", "consensus")
	h := &Host{client: newClient(spec.Groups, log), spec: spec, log: log, pluginLog: pluginLog, hops: newLatency()}
	go h.state.setSHA256(spec.sha256())
	if spec.Name == External && spec.SHA256 == "" {
		log.Warn("the external consensus plugin is run without a checksum", "path", spec.Path)
	}
	i, end := h.start(ctx, &backoff{limits: spec.Supervision}, spec.Supervision.LaunchAttempts, nil)
	if end != nil {
		h.state.set(StateFailed, 0)
		h.fail(end)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &ExitError{Code: end.code, Reason: end.Error(), Err: end.err}
	}
	h.first = i
	return h, nil
}

// Health implements consensus.Client.
func (h *Host) Health() consensus.Health {
	health := h.state.get()
	health.CommitP50, health.CommitP99 = h.commits.quantiles()
	health.HopP50, health.HopP99 = h.hops.quantiles()
	return health
}

// groups are the groups to open. Once they were, their data must be there.
func (h *Host) groups() []consensus.GroupSpec {
	groups := slices.Clone(h.spec.Groups)
	if h.opened.Load() {
		for i := range groups {
			groups[i].Mode = consensus.OpenRecover
		}
	}
	return groups
}

// Run supervises the backend until ctx ends, and then stops it in order and
// returns nil; or until it has failed for good, with a *FailedError. Only one
// call is allowed.
func (h *Host) Run(ctx context.Context) error {
	b := &backoff{limits: h.spec.Supervision}
	commits, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { h.watchCommits(commits) })
	defer watching.Wait()
	defer stop()
	for i := h.first; ; {
		if !h.watch(ctx, i, b) {
			i.stop()
			h.stopped()
			return nil
		}
		h.log.Error("consensus plugin ended", "reason", i.end)
		h.state.ended(i.end.Error(), i.proc.stderr.last())
		b.lived(time.Since(i.started))
		next, end := h.start(ctx, b, 0, i.end)
		if next == nil {
			return h.ended(ctx, end)
		}
		i = next
	}
}

// watch waits for i's end and returns true, or false if ctx ends first.
func (h *Host) watch(ctx context.Context, i *instance, b *backoff) bool {
	healthy := time.NewTimer(time.Until(i.started.Add(h.spec.Supervision.BackoffReset)))
	defer healthy.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-i.done:
			return true
		case <-healthy.C:
			b.lived(time.Since(i.started))
			h.state.setCrashLoop(b.looping())
		}
	}
}

// ended says how Run ends when no further instance came up because of end.
func (h *Host) ended(ctx context.Context, end *attemptError) error {
	select {
	case <-ctx.Done():
		h.stopped()
		return nil
	default:
	}
	h.state.set(StateFailed, 0)
	h.fail(end)
	return &FailedError{ExitCode: end.code, Reason: end.Error(), Err: end.err}
}

func (h *Host) stopped() {
	h.state.set(StateStopped, 0)
	h.fail(consensus.ErrShuttingDown)
}

// start starts an instance, after end if there was one before, and tries again
// until it is up, the failure is final, attempts (0 = no limit) are used up, or
// ctx ends.
func (h *Host) start(ctx context.Context, b *backoff, attempts int, end *attemptError) (*instance, *attemptError) {
	for n := 0; ; n++ {
		if end != nil {
			if end = b.note(end); end.final {
				return nil, end
			}
			if b.looping() {
				h.state.setCrashLoop(true)
				h.log.Error("consensus plugin crashes again and again", "last_lines", h.state.get().LastLines)
			}
			if attempts > 0 && n >= attempts && end.code != consensus.ExitLocked {
				return nil, end
			}
			if !h.pause(ctx, b) {
				return nil, &attemptError{err: ctx.Err(), code: exitFailure}
			}
		}
		i, err := h.startInstance(ctx)
		if err == nil {
			return i, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if !err.final { // the last word is the caller's to say
			h.log.Warn("consensus plugin could not be started", "error", err)
		}
		end = err
	}
}

// pause waits out the back-off; false means that ctx ended.
func (h *Host) pause(ctx context.Context, b *backoff) bool {
	h.state.set(StateBackoff, 0)
	wait := b.next()
	h.log.Info("consensus plugin is started again soon", "wait", wait)
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}
