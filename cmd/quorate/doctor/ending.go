package doctor

import (
	"context"
	"syscall"
	"time"
)

const (
	// signalWait is how long a plugin is given to die of a signal.
	signalWait = 500 * time.Millisecond
	// deathWait is rule L4's second, and more, for machines that are busy.
	deathWait = 3 * time.Second
)

// signals sends what a terminal and systemd send to a whole group (rule L5).
func (e *examination) signals(context.Context) (Finding, error) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		e.running.signal(s)
		if e.running.hasEnded(signalWait) {
			return bad(checkSignals, "catch SIGTERM and SIGINT, and do nothing: the broker says Stop", "it ends on %v (%s), before the broker can hand over", s, e.running.state()), nil
		}
	}
	return good(checkSignals, "it outlives SIGTERM and SIGINT, which are for the broker"), nil
}

// hostDeath closes the pipe, as the system does when a broker dies (rule L4).
func (e *examination) hostDeath(context.Context) (Finding, error) {
	if e.running.hasEnded(0) {
		return Finding{}, nil // that was said
	}
	e.running.closePipe()
	if !e.running.hasEnded(deathWait) {
		return bad(checkHostDeath, "read the descriptor in QUORATE_PLUGIN_HOST_FD until EOF; then stop leading and exit with 0 within a second",
			"it runs on without its broker"), nil
	}
	if code := e.running.cmd.ProcessState.ExitCode(); code != 0 {
		return bad(checkHostDeath, "exit with 0: nothing went wrong", "without its broker it ends with %s", e.running.state()), nil
	}
	return good(checkHostDeath, "without its broker it ends, with 0"), nil
}
