package host

import (
	"context"
	"time"

	"github.com/quorate/quorate/consensus"
)

const (
	// fewCommits are too few to judge a plugin by.
	fewCommits = 10
	// handOverWait bounds one transfer of leadership.
	handOverWait = 2 * time.Second
)

// watchCommits looks at how long commits took, window by window, until ctx ends.
// A leader whose commits are slow hands over: another replica's disk or network
// may be better. If it is not, this replica may lead again, and is left alone for
// HandOverRest, so that a cluster that is slow as a whole does not spend its time
// on elections.
func (h *Host) watchCommits(ctx context.Context) {
	limits := h.spec.Supervision
	window := time.NewTicker(limits.SlowCommitFor)
	defer window.Stop()
	var rest time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-window.C:
		}
		h.hops.rotate()
		full := h.commits.rotate()
		if full.total() < fewCommits || full.quantile(99) <= limits.SlowCommit || time.Now().Before(rest) {
			continue
		}
		if h.handOver(ctx, full.quantile(99)) {
			rest = time.Now().Add(limits.HandOverRest)
		}
	}
}

// handOver gives away every group that this replica leads, and tells whether
// there was one.
func (h *Host) handOver(ctx context.Context, p99 time.Duration) (led bool) {
	for _, g := range h.spec.Groups {
		if l, _ := h.LeaderFor(g.ID); l.Role != consensus.LeaderReady {
			continue
		}
		led = true
		ctx, cancel := context.WithTimeout(ctx, handOverWait)
		err := h.TransferLeadership(ctx, g.ID, consensus.NoLeader)
		cancel()
		h.log.Warn("commits are slow: leadership is handed over", "group", g.ID, "commit_p99", p99, "error", err)
	}
	return led
}
