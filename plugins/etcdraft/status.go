package etcdraft

import (
	"cmp"
	"slices"

	"go.etcd.io/raft/v3/tracker"

	"github.com/quorate/quorate/consensus"
)

// Status implements consensus.Group. What the loop knows of the peers is at most
// a heartbeat interval old.
func (g *group) Status() consensus.Status {
	info, _ := g.store.log.Info(g.id)
	leadership, _ := g.leadership.Get()
	commit, _ := g.delivered.Get()
	s := consensus.Status{
		Leadership: leadership,
		FirstIndex: info.First, LastIndex: info.Last, CommitIndex: commit, SnapshotIndex: info.Mark.Index,
		LogBytes:  uint64(max(info.Bytes, 0)),
		Committed: g.committed.Load(), Rejected: g.rejected.Load(), UnknownTotal: g.unknown.Load(),
		LeaderChanges: g.changes.Load(),
	}
	if peers := g.peerStatus.Load(); peers != nil {
		s.Peers = slices.Clone(*peers)
	}
	return s
}

// publishPeers is for Status and Metrics; only the loop calls it.
func (g *group) publishPeers() {
	info, _ := g.store.log.Info(g.id)
	g.logBytes.Store(info.Bytes)
	status := g.node.Status()
	var peers []consensus.PeerStatus
	for _, m := range g.currentConfig().Members {
		if m.ReplicaID == g.self {
			continue
		}
		s := consensus.PeerStatus{ReplicaID: m.ReplicaID, LastContact: -1}
		if p := g.backend.transport.peer(m.ReplicaID); p != nil {
			s.QueueLength, s.Dropped = uint64(len(p.queue)), p.dropped.Load()
			s.LastContact = p.sinceContact()
		}
		if pr, ok := status.Progress[m.ReplicaID]; ok {
			addProgress(&s, pr)
		}
		peers = append(peers, s)
	}
	slices.SortFunc(peers, func(a, b consensus.PeerStatus) int { return cmp.Compare(a.ReplicaID, b.ReplicaID) })
	g.peerStatus.Store(&peers)
}

func addProgress(s *consensus.PeerStatus, p tracker.Progress) {
	s.Match, s.Next, s.State = p.Match, p.Next, p.State.String()
	if p.Inflights != nil {
		s.InflightMessages = uint32(p.Inflights.Count())
	}
}
