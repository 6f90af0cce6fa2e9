package hashicorpraft

import (
	"sync"

	"github.com/hashicorp/raft"
)

// AppendEntriesPipeline implements raft.Transport. The library uses one for a
// peer that keeps up.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{AppendPipeline: inner, id: id, peers: t.peers, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	t.peers.setState(id, stateReplicate)
	go p.relay()
	return p, nil
}

// pipeline is the library's, which can deadlock (v1.8.0). Its reader of answers
// goes at the first one that is no success, and the sender is to follow. But the
// sender may be waiting for room among the requests without an answer; room is
// made by the decoder of answers, who waits for room among those that nobody
// reads any more; and only the sender would close the pipeline. That peer then
// gets no entries until the leader loses its term, the connection stays for
// ever, and so does whoever waits for the library to shut down.
//
// Here the answers pass relay, which closes the pipeline under the sender as
// soon as the reader has got its last one.
type pipeline struct {
	raft.AppendPipeline
	id      raft.ServerID
	peers   *peers
	answers chan raft.AppendFuture
	once    sync.Once
	closed  chan struct{} // by the sender
}

// relay hands answers to the library, in order, until one is no success or the
// pipeline is closed.
func (p *pipeline) relay() {
	for {
		select {
		case f := <-p.AppendPipeline.Consumer():
			last := f.Response().Term > f.Request().Term || !f.Response().Success
			if !last {
				p.peers.matched(p.id, f.Request())
			}
			select {
			case p.answers <- f:
			case <-p.closed:
				return
			}
			if last {
				_ = p.AppendPipeline.Close() // the sender sees that it is closed
				return
			}
		case <-p.closed:
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	clampCommit(req)
	return p.AppendPipeline.AppendEntries(req, resp)
}

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() {
		close(p.closed)
		p.peers.setState(p.id, stateProbe)
	})
	return p.AppendPipeline.Close()
}
