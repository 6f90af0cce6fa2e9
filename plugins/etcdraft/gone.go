package etcdraft

import (
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/quorate/quorate/consensus/sdk/detector"
)

// suspect is called when conn, the connection on which a peer sent, has ended. If
// the peer is a leader, and its process is gone, nobody has to wait for its silence.
func (t *transport) suspect(peer uint64, conn net.Conn) {
	p := t.peer(peer)
	if p == nil || !t.host.follows(peer) || t.replaced(peer, conn) {
		return
	}
	if detector.Gone(t.ctx, *p.addresses.Load()...) && !t.replaced(peer, conn) {
		t.log.Info("the leader's process is gone", "peer", peer)
		t.host.peerGone(peer)
	}
}

// replaced tells whether a peer has another connection than conn.
func (t *transport) replaced(peer uint64, conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other, id := range t.inbound {
		if id == peer && other != conn {
			return true
		}
	}
	return false
}

func (b *Backend) follows(peer uint64) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, g := range b.groups {
		if l, _ := g.leadership.Get(); l.Leader == peer {
			return true
		}
	}
	return false
}

func (b *Backend) peerGone(peer uint64) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, g := range b.groups {
		g.inbox.call(func() { g.forgetLeader(peer) })
	}
}

// maxCandidacies is how often a replica stands for election before it leaves the
// matter to the election timeout.
const maxCandidacies = 4

// candidacy is when this replica is to stand for election, because the leader is
// gone. The zero value is never.
type candidacy struct {
	at    time.Time
	stood int // how often it has
	gone  uint64
}

// forgetLeader makes this replica ready to vote for another one at once, if gone is
// its leader, and gives it its turn to stand. Both are harmless if the leader is
// there after all: a pre-vote needs a majority that has forgotten it, and its next
// heartbeat reminds.
func (g *group) forgetLeader(gone uint64) {
	status := g.node.BasicStatus()
	if status.RaftState != raft.StateFollower || status.Lead != gone {
		return
	}
	if err := g.node.ForgetLeader(); err != nil {
		g.log.Warn("forget the leader", "error", err)
		return
	}
	g.leadersGone.Add(1)
	g.candidacy = candidacy{gone: gone}
	g.candidacy.at = g.turnToStand()
}

// turnToStand returns when this replica may stand, the zero time if it is no voter.
func (g *group) turnToStand() time.Time {
	voters := g.currentConfig().Voters
	if !slices.Contains(voters, g.self) {
		return time.Time{}
	}
	return time.Now().Add(detector.Turn(g.self, g.candidacy.gone, voters, g.timing.heartbeat))
}

// stand begins an election if it is this replica's turn and there is no leader yet.
// On a machine that is busy two may stand at once and split the votes: then it is
// tried again, after each other voter could have had its turn.
func (g *group) stand(now time.Time) {
	if g.candidacy.at.IsZero() || now.Before(g.candidacy.at) {
		return
	}
	if g.node.BasicStatus().Lead != raft.None || g.candidacy.stood == maxCandidacies {
		g.candidacy = candidacy{}
		return
	}
	g.candidacy.stood++
	if g.candidacy.at = g.turnToStand(); g.candidacy.at.IsZero() {
		return
	}
	round := time.Duration(len(g.currentConfig().Voters)) * g.timing.heartbeat
	g.candidacy.at = g.candidacy.at.Add(round + rand.N(round))
	if err := g.node.Campaign(); err != nil {
		g.log.Warn("campaign", "error", err)
	}
}
