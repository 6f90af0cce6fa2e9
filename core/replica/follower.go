package replica

import (
	"slices"
	"time"

	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
)

// follower is what a leader knows of one of its followers, for one leader epoch.
// Partition.mu guards it.
type follower struct {
	end     int64 // of its log, as it said; -1 before its first fetch
	durable int64 // the part of that it has on stable storage, as it said
	epoch   int64 // of its registration, as it said; -1 if it did not
	start   int64 // of its log, as it said; -1 before its first fetch
	// toldStart is this leader's log start in the last answer to it; -1 before the first.
	toldStart int64
	// lastCaughtUp is a time at which it had everything this leader had: the latest
	// one, to a quarter of the time that it may lag.
	lastCaughtUp time.Time
	lastFetch    time.Time
	behind       pace
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

func newFollower() *follower {
	return &follower{end: -1, durable: -1, epoch: -1, start: -1, toldStart: -1}
}

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

// safe is how much of the log a follower holds in the way that the topic asks for:
// on stable storage, or in its page cache.
func (f *follower) safe(l *leadership) int64 {
	if l.settings.log.Sync == wal.SyncAlways {
		return f.durable
	}
	return f.end
}

// fetched records what a follower said that it has. It is false if a process said it
// that has been replaced since.
//
// In one epoch of the leader one process of a follower never loses what it has, so
// what arrives late, by another connection, takes nothing back.
func (f *follower) fetched(l *leadership, r *ReadRequest, leaderEnd int64, now time.Time, lagMax time.Duration) bool {
	end, durable, epoch := r.Offset, r.Offset, r.Replica.Epoch
	if r.DurableEnd >= 0 {
		durable = min(r.DurableEnd, end)
	}
	switch {
	case epoch >= 0 && epoch < f.epoch:
		return false
	case f.end >= 0 && epoch != f.epoch:
		f.lastCaughtUp = time.Time{} // another process: what the old one had may be gone
		f.start, f.toldStart = -1, -1
	case epoch >= 0:
		end, durable = max(end, f.end), max(durable, f.durable)
	}
	f.end, f.durable, f.epoch, f.lastFetch = end, durable, epoch, now
	f.start = max(f.start, r.LogStart)
	if f.safe(l) >= leaderEnd {
		f.lastCaughtUp, f.behind = now, pace{}
	}
	if at, ok := f.behind.reached(f.safe(l)); ok && at.After(f.lastCaughtUp) {
		f.lastCaughtUp = at // it has now what there was then
	}
	f.behind.note(leaderEnd, now, lagMax)
	return true
}

// caughtUp tells if it has everything, or had everything not long ago.
func (f *follower) caughtUp(l *leadership, leaderEnd int64, now time.Time, lagMax time.Duration) bool {
	return f.safe(l) == leaderEnd || now.Sub(f.lastCaughtUp) <= lagMax
}

// pace is where the leader's log ended at some moments that a follower has yet to
// reach, the earliest first. A follower fetches on while its disk is at work, so that
// what it has durably may be several fetches behind and never at the end.
type pace struct {
	ends [4]int64
	at   [4]time.Time
	n    int
}

// note remembers a moment, unless there is a recent one or no room.
func (p *pace) note(end int64, now time.Time, lagMax time.Duration) {
	if p.n == len(p.ends) || p.n > 0 && now.Sub(p.at[p.n-1]) < lagMax/time.Duration(len(p.ends)) {
		return
	}
	p.ends[p.n], p.at[p.n] = end, now
	p.n++
}

// reached forgets the moments whose end a follower has, and returns the latest.
func (p *pace) reached(safe int64) (at time.Time, ok bool) {
	k := 0
	for k < p.n && p.ends[k] <= safe {
		at, ok = p.at[k], true
		k++
	}
	copy(p.ends[:], p.ends[k:p.n])
	copy(p.at[:], p.at[k:p.n])
	p.n -= k
	return at, ok
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
// watermark or a wider ISR waited for. The caller has made sure that the follower's
// log is the beginning of this one.
func (p *Partition) followerFetched(l *leadership, r ReadRequest, now time.Time) {
	p.mu.Lock()
	f := p.followers[r.Replica.ID]
	if f == nil || p.leadership.Load().epoch != l.epoch || !f.fetched(l, &r, p.wal.End(), now, p.m.cfg.ReplicaLagTimeMax) {
		p.mu.Unlock()
		return
	}
	start := f.start
	p.mu.Unlock()
	p.starts.reached(start)
	p.advanceHighWatermark(now)
	p.proposeISR(now)
}
