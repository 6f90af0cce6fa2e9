package replica

import (
	"slices"
	"time"

	"github.com/quorate/quorate/protocol"
)

// follower is what a leader knows of one of its followers, for one leader epoch.
// Partition.mu guards it.
type follower struct {
	end   int64 // its durable end, as it said; -1 before its first fetch
	epoch int64 // of its registration, as it said; -1 if it did not
	// lastCaughtUp is the latest time at which it had everything this leader had.
	lastCaughtUp time.Time
	lastFetch    time.Time
	leaderEnd    int64 // this leader's end at lastFetch
}

// newFollowers returns the other replicas at the beginning of an epoch. Members
// of the ISR are believed to be caught up for now, so that they get the time to
// say so.
func newFollowers(l *leadership, now time.Time) map[int32]*follower {
	followers := make(map[int32]*follower, len(l.replicas))
	for _, id := range l.replicas {
		if id == l.leader {
			continue
		}
		followers[id] = newFollower()
		if l.inISR(id) {
			followers[id].lastCaughtUp = now
		}
	}
	return followers
}

func newFollower() *follower { return &follower{end: -1, epoch: -1, leaderEnd: -1} }

// trackReplicas follows a change of the assignment. Partition.mu is held.
func (p *Partition) trackReplicas(l *leadership, now time.Time) {
	assigned := make(map[int32]*follower, len(l.replicas))
	for _, id := range l.replicas {
		switch {
		case id == l.leader:
		case p.followers[id] != nil:
			assigned[id] = p.followers[id]
		default:
			assigned[id] = newFollower()
		}
	}
	p.followers = assigned
}

// fetched records that the follower asked for everything from offset on.
func (f *follower) fetched(offset, leaderEnd, epoch int64, now time.Time) {
	if f.end >= 0 && epoch != f.epoch {
		f.lastCaughtUp = time.Time{} // another process: what the old one had may be gone
	}
	switch {
	case offset >= leaderEnd:
		f.lastCaughtUp = now
	case offset >= f.leaderEnd && f.lastFetch.After(f.lastCaughtUp):
		f.lastCaughtUp = f.lastFetch // it has now what there was then
	}
	f.end, f.epoch, f.lastFetch, f.leaderEnd = offset, epoch, now, leaderEnd
}

// caughtUp tells if it has everything, or had everything not long ago.
func (f *follower) caughtUp(leaderEnd int64, now time.Time, lagMax time.Duration) bool {
	return f.end == leaderEnd || now.Sub(f.lastCaughtUp) <= lagMax
}

// checkFollower tells if a replica may fetch: it is assigned, and not a process
// that has been replaced since.
func (p *Partition) checkFollower(l *leadership, r *Follower) error {
	if r.ID == l.leader || !slices.Contains(l.replicas, r.ID) {
		return protocol.Errorf(protocol.NotLeaderOrFollower, "broker %d is no follower of %s", r.ID, p)
	}
	if b, ok := p.m.images.Current().Broker(r.ID); ok && r.Epoch >= 0 && r.Epoch < b.Epoch {
		return protocol.Errorf(protocol.NotLeaderOrFollower, "epoch %d of broker %d is over, it is %d", r.Epoch, r.ID, b.Epoch)
	}
	return nil
}

// followerFetched records a follower's position, which may be what the high
// watermark or a wider ISR waited for.
func (p *Partition) followerFetched(l *leadership, r *Follower, offset int64, now time.Time) {
	p.mu.Lock()
	f := p.followers[r.ID]
	if f == nil || p.leadership.Load().epoch != l.epoch {
		p.mu.Unlock()
		return
	}
	f.fetched(offset, p.wal.End(), r.Epoch, now)
	p.mu.Unlock()
	p.advanceHighWatermark(now)
	p.proposeISR(now)
}
