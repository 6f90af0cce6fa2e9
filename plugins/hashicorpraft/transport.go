package hashicorpraft

import (
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// transport is the library's own, which tells peers what it sees pass by.
type transport struct {
	*raft.NetworkTransport
	layer *layer
	peers *peers
}

// rpcTimeout is how long a peer has for an answer.
func rpcTimeout(t consensus.Timing) time.Duration { return max(2*time.Second, 4*t.ElectionTimeout) }

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

// AppendEntries implements raft.Transport. Heartbeats are among them.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	clampCommit(req)
	round := t.peers.round.Load() // before it is sent: see peers.confirm
	err := t.NetworkTransport.AppendEntries(id, target, req, resp)
	t.peers.appended(id, round, req, resp, err)
	return err
}

// clampCommit keeps req from committing more than it proves. The library's
// follower commits up to the leader's commit index or the end of its own log,
// whichever is lower, where Raft says: up to the last entry of the request. With
// a request that was put together before the leader committed more, a follower
// that comes back commits entries of its own that the cluster has overwritten.
func clampCommit(req *raft.AppendEntriesRequest) {
	proven := req.PrevLogEntry
	if n := len(req.Entries); n > 0 {
		proven = req.Entries[n-1].Index
	}
	req.LeaderCommitIndex = min(req.LeaderCommitIndex, proven)
}

// InstallSnapshot implements raft.Transport.
func (t *transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	t.peers.setState(id, stateSnapshot)
	err := t.NetworkTransport.InstallSnapshot(id, target, req, resp, data)
	t.peers.snapshotSent(id, err == nil && resp.Success)
	return err
}
