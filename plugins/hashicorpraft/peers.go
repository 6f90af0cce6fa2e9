package hashicorpraft

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/quorate/quorate/consensus"
)

// What a leader is doing for a peer.
const (
	stateProbe       = "probe"     // one request at a time, to find where the logs agree
	stateReplicate   = "replicate" // keeps up; requests are pipelined
	stateSnapshot    = "snapshot"
	stateUnreachable = "unreachable"
)

// peers is what this replica learns of the others from their answers, as far as
// it leads. The library keeps the same to itself.
type peers struct {
	log *slog.Logger

	// round is counted up by every read that wants to be confirmed; a request
	// carries the round in which it was sent.
	round atomic.Uint64

	mu       sync.Mutex
	byID     map[raft.ServerID]*peer
	answered chan struct{} // closed and replaced when an answer has come
}

type peer struct {
	term      uint64 // of the requests; what was learned in an earlier one is forgotten
	agreed    bool   // its log is a part of the leader's since this term's first entry
	match     uint64
	confirmed uint64 // the newest round in which it took this replica for the leader
	contact   time.Time
	failing   bool // the last request failed
	state     string
	silence   silence

	failures, snapshots uint64
}

func newPeers(log *slog.Logger) *peers {
	return &peers{log: log, byID: map[raft.ServerID]*peer{}, answered: make(chan struct{})}
}

func (p *peers) ofLocked(id raft.ServerID) *peer {
	one := p.byID[id]
	if one == nil {
		one = &peer{state: stateProbe}
		p.byID[id] = one
	}
	return one
}

// appended takes note of the answer to a request, or that there was none.
//
// The leader's first request in a term carries an entry of that term, so once
// one has succeeded, what the peer calls its last index is also in this log.
func (p *peers) appended(id raft.ServerID, round uint64, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse, err error) {
	p.say(id, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.ofLocked(id)
	if one.failing = err != nil; one.failing {
		one.failures++
		return
	}
	one.contact = time.Now()
	if req.Term < one.term || resp.Term != req.Term || !resp.Success {
		return
	}
	if req.Term > one.term {
		one.term, one.agreed, one.match = req.Term, false, 0
	}
	switch {
	case len(req.Entries) > 0:
		one.agreed, one.match = true, max(one.match, req.Entries[len(req.Entries)-1].Index)
	case one.agreed:
		one.match = max(one.match, resp.LastLog)
	}
	one.confirmed = max(one.confirmed, round)
	p.toldLocked()
}

// matched takes note that a peer has accepted a request that was pipelined. When
// that was sent is not known, so it confirms nothing.
func (p *peers) matched(id raft.ServerID, req *raft.AppendEntriesRequest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.ofLocked(id)
	one.contact = time.Now()
	if n := len(req.Entries); n > 0 && req.Term == one.term {
		one.agreed, one.match = true, max(one.match, req.Entries[n-1].Index)
		p.toldLocked()
	}
}

// matchOf returns how far a peer's log is known to be that of the leader of
// term, and a channel that is closed when there is another answer.
func (p *peers) matchOf(id raft.ServerID, term uint64) (uint64, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.byID[id]; one != nil && one.term == term && one.agreed {
		return one.match, p.answered
	}
	return 0, p.answered
}

// toldLocked wakes those who wait for an answer.
func (p *peers) toldLocked() {
	close(p.answered)
	p.answered = make(chan struct{})
}

func (p *peers) setState(id raft.ServerID, state string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ofLocked(id).state = state
}

func (p *peers) snapshotSent(id raft.ServerID, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.ofLocked(id)
	one.state = stateProbe
	if ok {
		one.snapshots++
	} else {
		one.failures++
	}
}

// confirmed counts the voters among servers that took this replica for their
// leader in an answer to something sent in round or later, and returns a channel
// that is closed when there is another answer.
func (p *peers) confirmed(servers []raft.Server, round uint64) (int, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, s := range servers {
		if one := p.byID[s.ID]; one != nil && s.Suffrage == raft.Voter && one.confirmed >= round {
			n++
		}
	}
	return n, p.answered
}

// best returns the voter among servers, other than self, that is the furthest
// and answers; ok is false if there is none.
func (p *peers) best(servers []raft.Server, self raft.ServerID) (best raft.Server, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	match := uint64(0)
	for _, s := range servers {
		one := p.byID[s.ID]
		if s.Suffrage != raft.Voter || s.ID == self || one == nil || one.failing {
			continue
		}
		if !ok || one.match > match {
			best, match, ok = s, one.match, true
		}
	}
	return best, ok
}

// answers tells whether the last request to a peer was answered.
func (p *peers) answers(id raft.ServerID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.byID[id]
	return one != nil && !one.failing
}

// status returns what is known of servers other than self, in term.
func (p *peers) status(servers []raft.Server, self raft.ServerID, term uint64) []consensus.PeerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []consensus.PeerStatus
	for _, s := range servers {
		if s.ID == self {
			continue
		}
		status := consensus.PeerStatus{ReplicaID: replicaID(s.ID), State: stateProbe}
		if one := p.byID[s.ID]; one != nil {
			status.State = one.state
			if one.term == term && one.agreed {
				status.Match = one.match
			}
			if !one.contact.IsZero() {
				status.LastContact = time.Since(one.contact)
			}
			if one.failing {
				status.State = stateUnreachable
			}
		}
		status.Next = status.Match + 1
		all = append(all, status)
	}
	slices.SortFunc(all, func(a, b consensus.PeerStatus) int { return cmp.Compare(a.ReplicaID, b.ReplicaID) })
	return all
}

// counters returns the totals of every peer that was ever spoken to.
func (p *peers) counters() map[uint64]peerCounters {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[uint64]peerCounters, len(p.byID))
	for id, one := range p.byID {
		all[replicaID(id)] = peerCounters{failures: one.failures, snapshots: one.snapshots}
	}
	return all
}

type peerCounters struct{ failures, snapshots uint64 }
