package consensus

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// GroupID names one replicated log. The host gives them out and never reuses one.
type GroupID uint64

// Metadata is the group that holds the cluster's metadata log.
const Metadata GroupID = 1

// NoLeader is the replica id that means "unknown".
const NoLeader uint64 = 0

// Entry is one position of a group's log.
type Entry struct {
	Index, Term uint64
	// Internal marks entries that the backend wrote for itself: no-ops, barriers
	// and configurations. They are delivered so that indexes are dense and every
	// term is seen; Data is empty.
	Internal bool
	Data     []byte
}

// Role is what a replica is in one group.
type Role int

// The roles. A Leader must not act before it is LeaderReady (rule T4).
const (
	Follower Role = iota
	Candidate
	Leader
	LeaderReady
	Learner
	Removed
)

var roleNames = [...]string{"follower", "candidate", "leader", "leader-ready", "learner", "removed"}

// String returns the role in lower case, as it is printed and logged.
func (r Role) String() string {
	if r < 0 || int(r) >= len(roleNames) {
		return "unknown"
	}
	return roleNames[r]
}

// Leadership is what a replica knows of a group's leader.
type Leadership struct {
	Term       uint64
	Leader     uint64 // replica id; NoLeader = unknown
	Role       Role   // of this replica
	ReadyIndex uint64 // with LeaderReady: the first committed entry of Term; act once it is applied
}

// Outcome is what became of a proposal.
type Outcome int

const (
	// Unknown means the proposal may or may not be in the log. It is the zero
	// value: what nobody answered is not known.
	Unknown Outcome = iota
	// Committed means durable on a quorum, at Result.Index, for ever.
	Committed
	// Rejected means the proposal is in no replica's log and never will be.
	Rejected
)

var outcomeNames = [...]string{"unknown", "committed", "rejected"}

// String returns the outcome in lower case.
func (o Outcome) String() string {
	if o < 0 || int(o) >= len(outcomeNames) {
		return "invalid"
	}
	return outcomeNames[o]
}

// Result is the one answer to a proposal.
type Result struct {
	Outcome Outcome
	Index   uint64 // with Committed
	Err     error  // with Rejected and Unknown: one of this package's errors, wrapped
}

// Proposal is one entry that a leader is asked to append. (Group, Term,
// Sequence) names it for ever; sequences count 1, 2, 3 … within a term.
type Proposal struct {
	Group    GroupID
	Term     uint64 // the term in which the caller knew this replica to lead
	Sequence uint64
	Data     []byte // an Envelope's bytes; not retained by the caller after Propose
}

// Batch is a run of committed entries.
type Batch struct {
	// Entries are dense and ascending; none means progress only.
	Entries []Entry
	// Commit is the highest index known to be committed here. It may start lower
	// after a restart than it was before.
	Commit uint64
}

// SnapshotMeta describes a snapshot: the state after applying exactly Index.
type SnapshotMeta struct {
	Index, Term uint64
	Format      string // the host's name for the content
	Size        uint64 // bytes; set by the backend when it is read back
}

// MemberRole is what a member counts as.
type MemberRole int

// The member roles. A Voter counts for the quorum, a Learner only receives.
const (
	Voter MemberRole = iota + 1
	LearnerMember
	WitnessMember
)

var memberRoleNames = [...]string{"none", "voter", "learner", "witness"}

// String returns the role in lower case, as it is printed.
func (r MemberRole) String() string {
	if r < 0 || int(r) >= len(memberRoleNames) {
		return "unknown"
	}
	return memberRoleNames[r]
}

// Member is one replica of a group.
type Member struct {
	ReplicaID uint64 // never reused, not even after the loss of a disk (rule M1)
	BrokerID  int32
	Address   string // where its peers dial it, host:port
	Role      MemberRole
}

// Membership is a group's configuration.
type Membership struct {
	Members     []Member
	Outgoing    []Member // the old voters, only inside a joint configuration
	ConfigIndex uint64
	Pending     bool
}

// OpenMode says what a group's data is expected to be.
type OpenMode int

const (
	// OpenBootstrap starts a new group, or recovers it if data exists already.
	// Every initial member passes the same list.
	OpenBootstrap OpenMode = iota + 1
	// OpenJoin starts empty and waits to be added by a leader.
	OpenJoin
	// OpenRecover refuses an empty directory.
	OpenRecover
)

// GroupSpec opens a group.
type GroupSpec struct {
	ID      GroupID
	Name    string
	Mode    OpenMode
	Members []Member // the initial ones, with OpenBootstrap
	Tuning  GroupTuning
}

// GroupTuning bounds a group's log. Zero means the backend's default.
type GroupTuning struct {
	RetainEntries          uint64 // kept below the newest snapshot for slow followers
	RetainBytes            uint64
	SnapshotRequestEntries uint64 // the host is asked for a snapshot after so many
	SnapshotRequestBytes   uint64
}

// Capability is something that a backend may or may not offer.
type Capability int

// The capabilities, numbered as in consensus.proto.
const (
	CapMultiGroup Capability = iota + 1
	CapLearners
	CapJointConsensus
	CapLeaderTransfer
	CapFollowerReadIndex
	CapPreVote
	CapCheckQuorum
	CapAppendNotify
	CapTLSReload
	CapWitness
	CapGroupQuiesce
)

var capabilityNames = [...]string{
	"none", "multi-group", "learners", "joint-consensus", "leader-transfer", "follower-read-index", "pre-vote",
	"check-quorum", "append-notify", "tls-reload", "witness", "group-quiesce",
}

// String returns the capability's name in lower case.
func (c Capability) String() string {
	if c < 0 || int(c) >= len(capabilityNames) {
		return "unknown"
	}
	return capabilityNames[c]
}

// Limits are a backend's own bounds. Proposals beyond them are rejected, never queued.
type Limits struct {
	MaxGroups            uint32
	MaxMembers           uint32
	MaxProposalBytes     uint64 // at least 1 MiB (rule P7)
	MaxInflightProposals uint32
	MaxInflightBytes     uint64
}

// Description is what a backend says of itself without touching disk or network.
type Description struct {
	Backend       string // "etcd-raft"; stamped into the data directory's META.json
	Version       string
	ContractMinor uint32
	Capabilities  []Capability
	Limits        Limits
	// ConfigSchema is the JSON Schema of StartConfig.Options.
	ConfigSchema json.RawMessage
	// PeerProtocol is the version of what replicas speak to each other: those of
	// different versions refuse each other. 0 = the backend does not say.
	PeerProtocol uint32
}

// Diagnostic is one problem in a backend's options.
type Diagnostic struct {
	Path    string // slash-separated, below options: "log_segment_bytes"
	Message string
	Warning bool // does not prevent a start
}

// StartConfig starts a backend, once per process.
type StartConfig struct {
	ClusterID string
	ReplicaID uint64 // non-zero
	BrokerID  int32
	DataDir   string // exists, mode 0700, exclusively the backend's; locked by the SDK
	Peer      PeerEndpoint
	Options   json.RawMessage // the backend's own settings, an object or nothing
	Timing    Timing
	SessionID string // of the host, for logs
	HostLease time.Duration
	Required  []Capability
}

// PeerEndpoint is where a backend listens for its peers, and what they dial.
type PeerEndpoint struct {
	Listen, Advertise string
	TLS               *PeerTLS // nil: plaintext; the host has checked that this was asked for
}

// PeerTLS is the identity of a replica towards its peers: TLS 1.3, both sides verified.
type PeerTLS struct {
	CA, Cert, Key []byte // PEM
	ServerName    string
	AllowedSANs   []string
}

// Timing is what the host asks for; a backend maps it onto its own timers.
type Timing struct {
	Heartbeat       time.Duration // default 50 ms
	ElectionTimeout time.Duration // default 500 ms
	LeaderLease     time.Duration // a hint; zero = half the election timeout
}

// DefaultTiming is the timing that failover is measured with.
func DefaultTiming() Timing {
	return Timing{Heartbeat: 50 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond}
}

// PeerStatus is a leader's view of one peer.
type PeerStatus struct {
	ReplicaID        uint64
	Match, Next      uint64
	InflightMessages uint32
	QueueLength      uint64
	Dropped          uint64 // messages dropped because the peer's queue was full, since the start
	LastContact      time.Duration
	State            string
}

// Status is a group as its replica sees it.
type Status struct {
	Leadership                                        Leadership
	FirstIndex, LastIndex, CommitIndex, SnapshotIndex uint64
	LogBytes                                          uint64
	Committed, Rejected, UnknownTotal, LeaderChanges  uint64
	Peers                                             []PeerStatus
}

// Backend is one consensus implementation in one process. Abilities beyond this
// interface are found by type assertion, like io.ReaderFrom.
type Backend interface {
	// Describe has no side effects and may be called before Start.
	Describe() Description
	// Validate checks options and reports every problem, not the first.
	Validate(options json.RawMessage) []Diagnostic
	// Start binds, recovers and returns once groups can be opened.
	Start(ctx context.Context, cfg StartConfig) error
	// BoundPeerAddress is the address peers can dial, known after Start.
	BoundPeerAddress() string
	OpenGroup(ctx context.Context, spec GroupSpec) (Group, error)
	// Stop stops every group, syncs and releases the data directory.
	Stop(ctx context.Context) error
}

// Group is one replicated log. Every method may be called from any goroutine.
type Group interface {
	// Leadership returns the current state and a channel that is closed at the
	// next change. It never blocks.
	Leadership() (Leadership, <-chan struct{})
	// Propose enqueues; it must not wait for I/O. done is called exactly once,
	// from any goroutine, and must not block. The SDK calls Propose from one
	// goroutine per group, in sequence order, having checked term and window.
	Propose(expectedTerm uint64, data []byte, done func(Result))
	// Read returns committed, locally durable entries from index from on, at
	// least one unless next is returned: a channel closed when more may be there.
	// ErrCompacted: the snapshot must be read first. ErrAheadOfLog: from is beyond
	// the end of the log plus one.
	Read(from uint64, maxBytes int) (entries []Entry, commit uint64, next <-chan struct{}, err error)
	// ReadIndex returns an index such that a host that has applied it sees every
	// write that finished before the call.
	ReadIndex(ctx context.Context) (index, term uint64, err error)
	// SaveSnapshot stores what r yields durably, all or nothing; afterwards the
	// log up to m.Index, less the retention, may be dropped.
	SaveSnapshot(ctx context.Context, m SnapshotMeta, r io.Reader) error
	// Snapshot opens the newest snapshot, or returns ErrNoSnapshot. The caller closes it.
	Snapshot(ctx context.Context) (SnapshotMeta, io.ReadCloser, error)
	// SnapshotWanted returns the index that a wanted snapshot must at least cover
	// (0 = none wanted) and a channel closed at the next change. It never blocks.
	SnapshotWanted() (minIndex uint64, changed <-chan struct{})
	Members() Membership
	Status() Status
	// LoopAge is the time since the group's loop last turned, and the age of a
	// sync in progress. It takes no lock that the loop may hold.
	LoopAge() (loop, sync time.Duration)
	Close() error
	Destroy() error
}

// ChangeOp is a change of membership.
type ChangeOp int

// The membership changes, numbered as in consensus.proto.
const (
	AddLearner ChangeOp = iota + 1
	Promote
	Demote
	Remove
	SetAddress
)

// Change is one membership change.
type Change struct {
	Op     ChangeOp
	Member Member
}

// MembershipChanger is a Group whose members can change.
type MembershipChanger interface {
	// ChangeMembers returns once the change is committed and out of any joint
	// configuration; ErrStaleConfig if expectConfigIndex is not the current one.
	ChangeMembers(ctx context.Context, expectConfigIndex uint64, changes []Change) (Membership, error)
}

// LeadershipTransferer is a Group whose leader can hand over.
type LeadershipTransferer interface {
	TransferLeadership(ctx context.Context, to uint64) error
}

// Failer is a Group that can fail without its process: Failed is closed when it
// serves no longer, and Err says why from then on. The host closes and opens
// such a group again, once; after that it takes the whole process for broken. A
// group whose storage has failed is no such case: that ends the process (rule S2).
type Failer interface {
	Failed() <-chan struct{}
	Err() error
}

// TLSReloader is a Backend that takes new certificates for new connections.
type TLSReloader interface {
	ReloadPeerTLS(tls PeerTLS) error
}

// Metric is one number that a backend shows to operators.
type Metric struct {
	Name    string // in Prometheus' manner, with its unit: "peer_messages_dropped_total"
	Counter bool   // only grows; otherwise a gauge
	Value   float64
	Labels  map[string]string
}

// Metricser is a Backend that has metrics. Metrics takes no lock that a group's
// loop may hold.
type Metricser interface {
	Metrics() []Metric
}
