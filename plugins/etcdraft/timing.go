package etcdraft

import (
	"fmt"
	"time"

	"github.com/quorate/quorate/consensus"
)

// timing is the host's wish in raft's ticks.
type timing struct {
	tick, heartbeat, election     time.Duration
	heartbeatTicks, electionTicks int
}

// newTiming makes a tick a fifth of a heartbeat, and at most a tenth of an
// election timeout: raft spreads elections by whole ticks.
func newTiming(t consensus.Timing) (timing, error) {
	defaults := consensus.DefaultTiming()
	if t.Heartbeat == 0 {
		t.Heartbeat = defaults.Heartbeat
	}
	if t.ElectionTimeout == 0 {
		t.ElectionTimeout = defaults.ElectionTimeout
	}
	if t.Heartbeat < time.Millisecond || t.ElectionTimeout < 2*t.Heartbeat || t.ElectionTimeout > time.Hour {
		return timing{}, fmt.Errorf("%w: heartbeat %s and election timeout %s; the timeout must be at least twice the heartbeat",
			consensus.ErrInvalidArgument, t.Heartbeat, t.ElectionTimeout)
	}
	tick := max(min(t.Heartbeat/5, t.ElectionTimeout/10), time.Millisecond)
	r := timing{tick: tick, heartbeat: t.Heartbeat, election: t.ElectionTimeout}
	r.heartbeatTicks = max(int(t.Heartbeat/tick), 1)
	r.electionTicks = max(int(t.ElectionTimeout/tick), r.heartbeatTicks+1)
	return r, nil
}

// withDefaults fills in what the host left open.
func withDefaults(t consensus.GroupTuning) consensus.GroupTuning {
	set := func(v *uint64, otherwise uint64) {
		if *v == 0 {
			*v = otherwise
		}
	}
	set(&t.RetainEntries, 10_000)
	set(&t.RetainBytes, 64<<20)
	set(&t.SnapshotRequestEntries, 50_000)
	set(&t.SnapshotRequestBytes, 64<<20)
	return t
}
