package hashicorpraft

import (
	"time"

	"github.com/hashicorp/raft"
)

// LoopAge tells for how long the library's main loop, or watch, has not turned,
// and since when the log is being written.
func (g *group) LoopAge() (loop, sync time.Duration) {
	now := time.Now().UnixNano()
	if since := g.store.writing.Load(); since != 0 {
		sync = time.Duration(now - since)
	}
	return time.Duration(now - min(g.lastTurn.Load(), g.lastLook.Load())), sync
}

func (g *group) turned() { g.lastTurn.Store(time.Now().UnixNano()) }

// pulse asks the library's main loop for something, again and again, to see that
// it turns. Bootstrapping with no members is refused in every state, by the loop
// itself, with no effect; what looks cheaper does not pass through the loop.
func (g *group) pulse() {
	every := time.NewTicker(max(g.b.cfg.Timing.Heartbeat, 10*time.Millisecond))
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-g.stopWatch:
			return
		}
		if err := g.raft.BootstrapCluster(raft.Configuration{}).Error(); err != raft.ErrRaftShutdown { //nolint:errorlint // the library's own, unwrapped
			g.turned()
		}
	}
}
