package host

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
	"github.com/quorate/quorate/consensus/internal/wire"
	"github.com/quorate/quorate/consensus/sdk"
)

// Bare is a backend's process that nobody supervises: it is started once, never
// asked for its health, never restarted and never killed unless it is told to.
// The conformance kit does to it what the supervisor of a [Host] protects others
// from. Its methods may be called concurrently.
type Bare struct {
	*client
	proc    *process
	started time.Time

	mu      sync.Mutex // guards current
	current *session
}

// LaunchBare starts the process, the backend and its groups, and returns once
// they are open. The error is an *ExitError if the process said why it did not
// come up. Supervision's StartTimeout counts, nothing else of it. A plugin hears
// of a bare host by calls alone, so Start.HostLease should be long. The
// connection to the plugin is made with dial.
func LaunchBare(ctx context.Context, spec Spec, log *slog.Logger, dial ...grpc.DialOption) (*Bare, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, &ExitError{Code: consensus.ExitConfig, Reason: err.Error(), Err: err}
	}
	proc, err := startProcess(spec, log.With("plugin", spec.Name), dial...)
	if err != nil {
		end := judge(err, -1)
		return nil, &ExitError{Code: end.code, Reason: end.Error(), Err: end.err}
	}
	b := &Bare{client: newClient(spec.Groups, log.With("component", "consensus")), proc: proc, started: time.Now()}
	s, err := b.bringUp(ctx, proc.conn, spec.Start, spec.Groups)
	if err != nil {
		proc.hasExited(exitWait)
		proc.kill()
		end := judge(err, proc.exitCode())
		proc.reap()
		return nil, &ExitError{Code: end.code, Reason: end.Error(), Err: end.err}
	}
	b.current = s
	return b, nil
}

// PID is the process's id.
func (b *Bare) PID() int { return b.proc.pid() }

// Signal sends a signal to the process.
func (b *Bare) Signal(sig os.Signal) error { return b.proc.cmd.Process.Signal(sig) }

// Exited is closed when the process has ended and has been waited for.
func (b *Bare) Exited() <-chan struct{} { return b.proc.exited }

// ExitCode returns the exit code once Exited is closed; -1 if a signal ended it.
func (b *Bare) ExitCode() int { return b.proc.exitCode() }

// HangUp closes the pipe that tells the plugin that its host lives, as the
// kernel does when the host dies.
func (b *Bare) HangUp() { _ = b.proc.death.Close() }

// Kill ends the process as kill -9 does, and frees what belongs to it. It may be
// called again, and must be called in the end if Stop is not.
func (b *Bare) Kill() {
	b.proc.kill()
	b.release()
}

// Stop asks the plugin to stop and returns once its process has ended; it is
// killed if it does not end in time. An exit code other than 0 is an error.
func (b *Bare) Stop(grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	req := &consensuspb.StopRequest{GraceMs: wire.Millis(grace)}
	if _, err := consensuspb.NewConsensusClient(b.proc.conn).Stop(ctx, req); err != nil {
		b.Kill()
		return callError(ctx, "stop the plugin", err)
	}
	if !b.proc.hasExited(grace) {
		b.Kill()
		return fmt.Errorf("the plugin answered Stop, and did not exit within %s", grace)
	}
	b.release()
	if code := b.ExitCode(); code != consensus.ExitOK {
		return fmt.Errorf("the plugin was stopped, and exited with %d", code)
	}
	return nil
}

func (b *Bare) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return
	}
	b.fail(consensus.ErrShuttingDown)
	b.current.end()
	b.current = nil
	b.proc.reap()
}

// Reconnect breaks the streams of proposals and events and opens them again. It
// returns what the plugin says, in between, of how far each group that it leads
// has got (rule P5).
func (b *Bare) Reconnect(ctx context.Context) ([]*consensuspb.SequencePosition, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return nil, consensus.ErrUnavailable
	}
	b.current.end()
	positions, err := b.positions(ctx)
	if err != nil {
		return nil, err
	}
	s, err := openSession(ctx, b.proc.conn, b.client)
	if err != nil {
		return nil, err
	}
	b.current = s
	return positions, nil
}

func (b *Bare) positions(ctx context.Context) ([]*consensuspb.SequencePosition, error) {
	ctx, cancel := context.WithTimeout(ctx, windowWait)
	defer cancel()
	stream, err := consensuspb.NewConsensusClient(b.proc.conn).Propose(ctx)
	if err != nil {
		return nil, callError(ctx, "open the stream of proposals", err)
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, callError(ctx, "open the stream of proposals", err)
	}
	if first.GetWindow() == nil {
		return nil, fmt.Errorf("the first message of the stream of proposals is not a window: %v", first)
	}
	return first.GetWindow().GetPositions(), nil
}

// Ask asks the plugin for its health, as a supervisor does.
func (b *Bare) Ask(ctx context.Context) (loop, sync time.Duration, err error) {
	h, err := consensuspb.NewConsensusClient(b.proc.conn).Health(ctx, &consensuspb.HealthRequest{})
	if err != nil {
		return 0, 0, callError(ctx, "ask for health", err)
	}
	return wire.Duration(uint32(min(h.GetMaxLoopAgeMs(), 1<<31))), wire.Duration(uint32(min(h.GetCurrentSyncMs(), 1<<31))), nil
}

// Health implements consensus.Client.
func (b *Bare) Health() consensus.Health {
	h := consensus.Health{State: StateRunning, PID: b.PID(), Since: b.started}
	select {
	case <-b.proc.exited:
		h.State, h.LastExit = StateStopped, b.proc.cmd.ProcessState.String()
	default:
	}
	return h
}

// Greeting is the environment by which a plugin knows that a host started it,
// for who wants to see what it prints. It makes its socket in socketDir, and
// takes the host for dead when its descriptor 3 reaches EOF.
func Greeting(socketDir string) []string {
	return []string{
		sdk.CookieKey + "=" + sdk.CookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=" + strconv.Itoa(sdk.ProtocolVersion),
		plugin.EnvUnixSocketDir + "=" + socketDir,
		sdk.HostFDKey + "=" + hostFD,
	}
}
