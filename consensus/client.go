package consensus

import (
	"context"
	"io"
	"time"
)

// Client is the contract as the broker sees it: one consensus backend, in
// whatever process it lives. It outlives that process: while a crashed plugin is
// being restarted, LeaderFor reports no leader, proposals are Unknown or
// Rejected with ErrUnavailable, and Subscribe waits.
//
// All methods may be called concurrently.
type Client interface {
	// Describe returns what the backend said of itself at the last start.
	Describe() Description
	// LeaderFor returns the newest leadership known for g and a channel that is
	// closed when a newer one is. It never blocks and never calls the plugin.
	LeaderFor(g GroupID) (Leadership, <-chan struct{})
	// Propose sends p and waits for its outcome. A ctx that ends gives Unknown:
	// the proposal may still be committed later. Sequences of one (group, term)
	// must be proposed in order, by one caller at a time.
	Propose(ctx context.Context, p Proposal) Result
	// Subscribe delivers the committed entries of g from index from on to handle,
	// in order, each once, from one goroutine, until ctx ends, handle returns an
	// error, or the position is compacted away. It rides over restarts of the
	// plugin. The error is ctx's, handle's, ErrCompacted (call Snapshot, install
	// it, subscribe at its index + 1), ErrAheadOfLog, or what made the backend
	// fail for good. handle owns the entries' Data.
	Subscribe(ctx context.Context, g GroupID, from uint64, handle func(Batch) error) error
	// ReadIndex: see Group.ReadIndex.
	ReadIndex(ctx context.Context, g GroupID) (index, term uint64, err error)
	// SaveSnapshot: see Group.SaveSnapshot.
	SaveSnapshot(ctx context.Context, g GroupID, m SnapshotMeta, r io.Reader) error
	// Snapshot opens the newest snapshot of g, or returns ErrNoSnapshot. The
	// reader fails unless size and checksum were right when it reaches EOF.
	Snapshot(ctx context.Context, g GroupID) (SnapshotMeta, io.ReadCloser, error)
	// SnapshotWanted returns the index that a wanted snapshot of g must at least
	// cover (0 = none wanted) and a channel closed at the next change.
	SnapshotWanted(g GroupID) (minIndex uint64, changed <-chan struct{})
	// Members returns the group's membership as this replica knows it.
	Members(ctx context.Context, g GroupID) (Membership, error)
	// Status returns the group as this replica sees it.
	Status(ctx context.Context, g GroupID) (Status, error)
	// ChangeMembers applies changes to the membership of g that has the given
	// config index, and returns the membership after it. It returns once the change
	// is committed and out of any joint configuration. Only the leader can: others
	// return ErrNotLeader. ErrStaleConfig means that the membership has changed
	// since it was read, ErrConfigPending that another change is under way,
	// ErrUnsupported that the backend cannot. After ErrTimeout or ErrUnavailable
	// the change may have happened: read Members.
	ChangeMembers(ctx context.Context, g GroupID, expectConfigIndex uint64, changes []Change) (Membership, error)
	// TransferLeadership asks this replica, which leads g, to hand over to the
	// voter to, or to the best prepared one if to is NoLeader. It returns once the
	// other leads, or with the reason why this replica still does.
	TransferLeadership(ctx context.Context, g GroupID, to uint64) error
	// Metrics returns the backend's own numbers, or ErrUnsupported.
	Metrics(ctx context.Context) ([]Metric, error)
	// ReloadPeerTLS gives the backend new certificates for new connections to its
	// peers, now and after every restart of the plugin; or returns ErrUnsupported.
	ReloadPeerTLS(ctx context.Context, tls PeerTLS) error
	// Health tells how the plugin's process is doing; it never calls the plugin.
	Health() Health
}

// Health is the state of the backend's process as its supervisor sees it.
type Health struct {
	State    string // "starting", "running", "slow", "hung", "backoff", "failed", "stopped"
	PID      int    // 0 in process
	Restarts int
	Since    time.Time // of State
	LastExit string    // why the process ended last time, in words
	// LastLines are what the process wrote last to stderr before that end.
	LastLines []string
	// CrashLoop is set while the process ends again and again, until it has been
	// up for a while. A broker on it is not ready, whatever State is just now.
	CrashLoop bool
	// CommitP50 and CommitP99 are how long this replica's proposals took to be
	// committed, through the plugin and back, lately; zero without any.
	CommitP50, CommitP99 time.Duration
	// HopP50 and HopP99 are how long the plugin took to answer the simplest question,
	// lately: what the process boundary costs, without consensus or disk.
	HopP50, HopP99 time.Duration
	// LoopAge is the time since the plugin's slowest loop turned, and SyncAge how long
	// a sync has been in progress (0 = none), as of the newest answer.
	LoopAge, SyncAge time.Duration
	// SHA256 is the checksum of the plugin's executable, in hexadecimal; empty until it
	// is known, and in process.
	SHA256 string
}
