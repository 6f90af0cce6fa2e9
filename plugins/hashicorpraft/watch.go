package hashicorpraft

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// watch looks at the library's state whenever something may have changed. The
// library's notifications only wake it: they may be lost, and come before what
// they speak of (rule T6 asks for levels).
func (g *group) watch() {
	slow := max(g.b.cfg.Timing.Heartbeat/5, time.Millisecond)
	timer := time.NewTimer(slow)
	defer timer.Stop()
	for {
		select {
		case <-g.observed:
		case <-timer.C:
		case <-g.stopWatch:
			return
		}
		g.lastLook.Store(time.Now().UnixNano())
		if g.look() == consensus.Leader {
			timer.Reset(time.Millisecond) // it will be ready any moment
		} else {
			timer.Reset(slow)
		}
	}
}

// look publishes the library's state, and returns the role.
func (g *group) look() consensus.Role {
	l := g.state()
	applied := g.raft.AppliedIndex() // unlike CommitIndex, nothing below it is still to be read by the library
	if l.Role == consensus.Leader {
		l.Role, l.ReadyIndex = g.readiness(l.Term, applied)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advanceLocked(applied)
	if l == g.leadership || g.closed || l.Term < g.leadership.Term {
		return g.leadership.Role
	}
	if l.Leader != g.leadership.Leader {
		g.changes++
	}
	g.leadership = l
	close(g.led)
	g.led = make(chan struct{})
	return l.Role
}

// state reads term, role and leader such that they belong together: terms only
// grow, so the same term before and after means that it was this one between.
// The library forgets the leader before it changes the term.
func (g *group) state() consensus.Leadership {
	for {
		l := consensus.Leadership{Term: g.raft.CurrentTerm()}
		role := g.raft.State()
		_, leader := g.raft.LeaderWithID()
		if g.raft.CurrentTerm() != l.Term {
			continue
		}
		l.Leader = replicaID(leader)
		switch role {
		case raft.Leader:
			l.Role, l.Leader = consensus.Leader, g.b.cfg.ReplicaID
		case raft.Candidate:
			l.Role, l.Leader = consensus.Candidate, consensus.NoLeader
		default:
			l.Role = g.passiveRole()
			if l.Leader == g.b.cfg.ReplicaID {
				l.Leader = consensus.NoLeader // it steps down just now
			}
		}
		return l
	}
}

// passiveRole is what this replica is when it neither leads nor stands, by the
// newest configuration in its log: one that was removed is never told that its
// removal was committed. Should it not be, the next leader takes it back. One that
// never was a member waits to be added, also if its log begins with a snapshot.
func (g *group) passiveRole() consensus.Role {
	was := g.store.wasMember(g.b.cfg.ReplicaID)
	switch server, known := serverOf(g.store.configuration().Configuration, g.b.cfg.ReplicaID); {
	case !known && was:
		return consensus.Removed
	case !known:
		return consensus.Follower
	case server.Suffrage != raft.Voter:
		return consensus.Learner
	default:
		return consensus.Follower
	}
}

// readiness tells whether a leader has committed an entry of its term, and which
// was the first. The library's Barrier would prove the same with one more entry.
func (g *group) readiness(term, applied uint64) (consensus.Role, uint64) {
	g.mu.Lock()
	known := g.leadership
	g.mu.Unlock()
	if known.Term == term && known.Role == consensus.LeaderReady {
		return consensus.LeaderReady, known.ReadyIndex
	}
	first := uint64(0)
	for index := applied; index > 0; index-- {
		var l raft.Log
		if g.store.GetLog(index, &l) != nil || l.Term != term {
			break
		}
		first = index
	}
	if first == 0 {
		return consensus.Leader, 0
	}
	return consensus.LeaderReady, first
}
