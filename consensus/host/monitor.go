package host

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/quorate/quorate/consensus/consensuspb"
)

// monitor asks a process for its health until it counts as hung.
type monitor struct {
	rpc    consensuspb.ConsensusClient
	limits Supervision
	log    *slog.Logger
	slow   func(bool) // told when a long sync begins and ends
	// answered is told of every answer: how long it took, and the ages in it.
	answered func(took, loop, sync time.Duration)

	misses int
	isSlow bool
}

func newMonitor(conn grpc.ClientConnInterface, limits Supervision, log *slog.Logger, slow func(bool), answered func(took, loop, sync time.Duration)) *monitor {
	return &monitor{rpc: consensuspb.NewConsensusClient(conn), limits: limits, log: log, slow: slow, answered: answered}
}

// run returns why the process counts as hung, or "" when ctx ends.
func (m *monitor) run(ctx context.Context) string {
	tick := time.NewTicker(m.limits.HealthInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-tick.C:
		}
		if why := m.ask(ctx); why != "" && ctx.Err() == nil {
			return why
		}
	}
}

// ask asks once and returns why the process counts as hung, if it does.
func (m *monitor) ask(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, m.limits.HealthTimeout)
	defer cancel()
	asked := time.Now()
	h, err := m.rpc.Health(ctx, &consensuspb.HealthRequest{})
	if err != nil {
		m.misses++
		if m.misses >= m.limits.HealthMisses {
			return fmt.Sprintf("%d health checks in a row were not answered", m.misses)
		}
		return ""
	}
	m.misses = 0
	loop := time.Duration(h.GetMaxLoopAgeMs()) * time.Millisecond
	sync := time.Duration(h.GetCurrentSyncMs()) * time.Millisecond
	m.answered(time.Since(asked), loop, sync)
	m.setSlow(sync > m.limits.SlowSync, sync)
	switch {
	case sync > m.limits.StuckSync:
		return fmt.Sprintf("a sync has been under way for %s", sync)
	case loop > m.limits.HangAfter && sync == 0:
		return fmt.Sprintf("its loop has not turned for %s", loop)
	default:
		return ""
	}
}

func (m *monitor) setSlow(slow bool, sync time.Duration) {
	if slow == m.isSlow {
		return
	}
	m.isSlow = slow
	m.slow(slow)
	if slow {
		m.log.Warn("the plugin waits for its disk", "sync", sync)
	} else {
		m.log.Info("the plugin's disk answers again")
	}
}
