package admin

import (
	"context"
	"time"

	"github.com/quorate/quorate/consensus"
)

// ConsensusStatus is what GET /consensus answers: the metadata log as one node
// sees it, and the plugin that keeps it there.
type ConsensusStatus struct {
	Node    int32  `json:"node"`
	Backend string `json:"backend"`
	Version string `json:"version"`

	Plugin  PluginStatus   `json:"plugin"`
	Replica ReplicaStatus  `json:"replica"`
	Config  Configuration  `json:"configuration"`
	Peers   []PeerProgress `json:"peers,omitempty"` // as the leader sees them
	// Error says why Replica, Config and Peers are not known; empty if they are.
	Error string `json:"error,omitempty"`
}

// PluginStatus is how the plugin's process is doing.
type PluginStatus struct {
	State         string    `json:"state"`
	CrashLoop     bool      `json:"crash_loop,omitempty"`
	PID           int       `json:"pid,omitempty"`
	Since         time.Time `json:"since"` // of State
	Restarts      int       `json:"restarts"`
	LastExit      string    `json:"last_exit,omitempty"`
	LastLines     []string  `json:"last_lines,omitempty"` // of stderr before that
	Capabilities  []string  `json:"capabilities"`
	CommitP50     float64   `json:"commit_p50_ms,omitempty"`
	CommitP99     float64   `json:"commit_p99_ms,omitempty"`
	FsyncP99      float64   `json:"fsync_p99_ms,omitempty"` // 0: not told
	HopP50        float64   `json:"hop_p50_ms,omitempty"`   // to the plugin and back, without consensus
	HopP99        float64   `json:"hop_p99_ms,omitempty"`
	LoopAge       float64   `json:"loop_age_ms"` // since its slowest loop turned
	SyncAge       float64   `json:"sync_age_ms"` // of a sync in progress; 0: none is
	SHA256        string    `json:"sha256,omitempty"`
	ContractMinor uint32    `json:"contract_minor"`
}

// ReplicaStatus is a replica of the metadata log.
type ReplicaStatus struct {
	Role          string `json:"role"`
	Term          uint64 `json:"term"`
	Leader        uint64 `json:"leader"` // replica id; 0 = unknown
	FirstIndex    uint64 `json:"first_index"`
	LastIndex     uint64 `json:"last_index"`
	CommitIndex   uint64 `json:"commit_index"`
	AppliedIndex  uint64 `json:"applied_index"`
	SnapshotIndex uint64 `json:"snapshot_index"`
	LogBytes      uint64 `json:"log_bytes"`
	Committed     uint64 `json:"committed"`
	Rejected      uint64 `json:"rejected"`
	Unknown       uint64 `json:"unknown"`
	LeaderChanges uint64 `json:"leader_changes"`
}

// Configuration is the membership of the metadata log.
type Configuration struct {
	Index   uint64   `json:"index"`
	Pending bool     `json:"pending,omitempty"`
	Members []Member `json:"members"`
}

// Member is a replica of the metadata log.
type Member struct {
	Replica uint64 `json:"replica"`
	Broker  int32  `json:"broker"`
	Address string `json:"address"`
	Role    string `json:"role"` // voter, learner or witness
}

// PeerProgress is how far a leader knows a peer to be.
type PeerProgress struct {
	Replica     uint64  `json:"replica"`
	Match       uint64  `json:"match_index"`
	Next        uint64  `json:"next_index"`
	InFlight    uint32  `json:"in_flight"`
	Queue       uint64  `json:"queue"`
	Dropped     uint64  `json:"dropped"`
	LastContact float64 `json:"last_contact_ms"`
	State       string  `json:"state"`
}

func (c *consensusAPI) status(ctx context.Context) ConsensusStatus {
	d := c.client.Describe()
	s := ConsensusStatus{Node: c.node, Backend: d.Backend, Version: d.Version, Plugin: c.plugin(ctx, d)}
	l, _ := c.client.LeaderFor(consensus.Metadata)
	s.Replica = ReplicaStatus{Role: l.Role.String(), Term: l.Term, Leader: l.Leader, AppliedIndex: c.applied()}
	st, err := c.client.Status(ctx, consensus.Metadata)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Replica = replicaStatus(st)
	s.Replica.AppliedIndex = c.applied()
	for _, p := range st.Peers {
		s.Peers = append(s.Peers, PeerProgress{
			Replica: p.ReplicaID, Match: p.Match, Next: p.Next, InFlight: p.InflightMessages,
			Queue: p.QueueLength, Dropped: p.Dropped, LastContact: millis(p.LastContact), State: p.State,
		})
	}
	m, err := c.client.Members(ctx, consensus.Metadata)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Config = configuration(m)
	return s
}

func (c *consensusAPI) plugin(ctx context.Context, d consensus.Description) PluginStatus {
	h := c.client.Health()
	p := PluginStatus{
		State: h.State, CrashLoop: h.CrashLoop, PID: h.PID, Since: h.Since, Restarts: h.Restarts, LastExit: h.LastExit,
		LastLines: h.LastLines, CommitP50: millis(h.CommitP50), CommitP99: millis(h.CommitP99),
		HopP50: millis(h.HopP50), HopP99: millis(h.HopP99), LoopAge: millis(h.LoopAge), SyncAge: millis(h.SyncAge), SHA256: h.SHA256,
		Capabilities: []string{}, ContractMinor: d.ContractMinor,
	}
	for _, capability := range d.Capabilities {
		p.Capabilities = append(p.Capabilities, capability.String())
	}
	metrics, err := c.client.Metrics(ctx)
	if err != nil {
		return p // a backend may have none, and one that is away has none now
	}
	for _, m := range metrics {
		if m.Name == "log_sync_seconds" && m.Labels["quantile"] == "0.99" {
			p.FsyncP99 = m.Value * 1000
		}
	}
	return p
}

func replicaStatus(s consensus.Status) ReplicaStatus {
	return ReplicaStatus{
		Role: s.Leadership.Role.String(), Term: s.Leadership.Term, Leader: s.Leadership.Leader,
		FirstIndex: s.FirstIndex, LastIndex: s.LastIndex, CommitIndex: s.CommitIndex, SnapshotIndex: s.SnapshotIndex,
		LogBytes: s.LogBytes, Committed: s.Committed, Rejected: s.Rejected, Unknown: s.UnknownTotal, LeaderChanges: s.LeaderChanges,
	}
}

func configuration(m consensus.Membership) Configuration {
	out := Configuration{Index: m.ConfigIndex, Pending: m.Pending, Members: []Member{}}
	for _, member := range m.Members {
		out.Members = append(out.Members, Member{
			Replica: member.ReplicaID, Broker: member.BrokerID, Address: member.Address, Role: member.Role.String(),
		})
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
