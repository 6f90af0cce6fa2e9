package hashicorpraft

import (
	"io"

	"github.com/hashicorp/raft"
)

// transport is the library's own, which tells peers what it sees pass by.
type transport struct {
	*raft.NetworkTransport
	peers *peers
}

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

// AppendEntriesPipeline implements raft.Transport. The library uses one for a
// peer that keeps up.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	t.peers.setState(id, stateReplicate)
	return &pipeline{AppendPipeline: p, ended: func() { t.peers.setState(id, stateProbe) }}, nil
}

// pipeline tells when it ends.
type pipeline struct {
	raft.AppendPipeline
	ended func()
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	clampCommit(req)
	return p.AppendPipeline.AppendEntries(req, resp)
}

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.ended()
	return p.AppendPipeline.Close()
}
