package hashicorpraft

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/detector"
)

// suspect is told that a replica has no connection to this one any more. It must not
// wait: whoever comes while succeed is at one is forgotten, and falls silent.
func (g *group) suspect(replica uint64) {
	select {
	case g.suspected <- replica:
	default:
	}
}

// succeed makes an end of following a leader whose process is gone, instead of
// waiting for the library's heartbeat timer. That one looks only once in one to two
// time-outs, and so may take three.
func (g *group) succeed() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g.running.Go(func() {
		<-g.stopWatch
		cancel()
	})
	if _, changed := g.Leadership(); slices.Equal(g.voters(), []uint64{g.b.cfg.ReplicaID}) {
		g.hurry(changed) // nobody else can lead: the only voter waits for no time-out
	}
	for {
		select {
		case replica := <-g.suspected:
			g.forgetLeader(ctx, replica)
		case <-g.stopWatch:
			return
		}
	}
}

// forgetLeader makes the library take gone for gone, if it follows it, and its
// process has ended: that is, it has the library's heartbeat timer run out at once.
// It stands for election then, with a pre-vote, and votes for others. A leader that is there
// after all loses nothing by it: the others, who hear of it, refuse.
//
// The time-out can not be set below the lease, so that is waited for; and then for
// this replica's turn, since who stands first does so in vain: the others must have
// forgotten the leader, and in this library who forgets stands.
func (g *group) forgetLeader(ctx context.Context, gone uint64) {
	l, changed := g.Leadership()
	address, known := g.addressOf(gone)
	if l.Leader != gone || l.Role != consensus.Follower || !known {
		return
	}
	if !detector.Gone(ctx, address) || g.b.streams.connected(gone) {
		return
	}
	slog.Info("the leader's process is gone", "component", "raft", "replica", gone)
	g.leadersGone.Add(1)
	lease := leaderLease(g.b.cfg.Timing)
	wait := time.Until(g.raft.LastContact().Add(lease)) + detector.Turn(g.b.cfg.ReplicaID, gone, g.voters(), g.b.cfg.Timing.Heartbeat)
	if !g.stillGone(changed, wait) || g.b.streams.connected(gone) {
		return
	}
	g.hurry(changed)
}

// hurry has the library look at its heartbeat timer now, and take a leader for gone
// that was silent for the lease. It waits for what comes of it.
func (g *group) hurry(changed <-chan struct{}) {
	hurried := g.timing
	hurried.HeartbeatTimeout = leaderLease(g.b.cfg.Timing)
	g.reload(hurried)
	defer g.reload(g.timing)
	g.stillGone(changed, g.b.cfg.Timing.ElectionTimeout)
}

// stillGone waits, and returns false if the leadership changes meanwhile or the
// group is closed.
func (g *group) stillGone(changed <-chan struct{}, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-changed:
		return false
	case <-g.stopWatch:
		return false
	}
}

func (g *group) reload(timing raft.ReloadableConfig) {
	if err := g.raft.ReloadConfig(timing); err != nil {
		slog.Warn("change the heartbeat time-out", "component", "raft", "error", err)
	}
}

// addressOf is where a member listens.
func (g *group) addressOf(replica uint64) (string, bool) {
	server, known := serverOf(g.store.configuration().Configuration, replica)
	if !known {
		return "", false
	}
	address, err := g.addresses().ServerAddr(server.ID)
	return string(address), err == nil
}

func (g *group) voters() []uint64 {
	var ids []uint64
	for _, s := range g.store.configuration().Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, replicaID(s.ID))
		}
	}
	return slices.Clip(ids)
}
