package host

import (
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
)

// The states of a backend's process, as Health reports them.
const (
	StateStarting = "starting"
	StateRunning  = "running"
	StateSlow     = "slow"    // a sync takes long; the disk is to blame, and a restart would not help
	StateHung     = "hung"    // about to be killed
	StateBackoff  = "backoff" // waits before the next start
	StateFailed   = "failed"  // will not be started again
	StateStopped  = "stopped"
)

// state is the health of a supervised process.
type state struct {
	mu     sync.Mutex
	health consensus.Health
}

func (s *state) set(name string, pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.health.PID != pid {
		s.health.LoopAge, s.health.SyncAge = 0, 0 // they were another process's
	}
	if s.health.State != name || s.health.PID != pid {
		s.health.State, s.health.PID, s.health.Since = name, pid, time.Now()
	}
}

// ended notes why a process ended and what it said last, and that the next one
// is a restart.
func (s *state) ended(why string, lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.LastExit, s.health.LastLines = why, lines
	s.health.Restarts++
}

// answered notes what the plugin said of itself.
func (s *state) answered(loop, sync time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.LoopAge, s.health.SyncAge = loop, sync
}

func (s *state) setSHA256(sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.SHA256 = sum
}

func (s *state) setCrashLoop(looping bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.CrashLoop = looping
}

func (s *state) get() consensus.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}
