package kit

import (
	"errors"
	"strings"
	"time"

	"github.com/quorate/quorate/consensus"
)

var proposalCases = []Case{
	{Number: 4, Name: "proposals 1, 16 and 256 in flight", Level: 1, Nodes: 1, Rules: []string{"P3", "P4", "P6", "D1", "D2", "T4"}, run: inFlight},
	{Number: 4, Name: "sizes", Level: 1, Nodes: 1, Rules: []string{"P7", "P3", "D3"}, run: sizes},
	{Number: 5, Name: "gaps, repeats and other terms are rejected", Level: 1, Nodes: 1, Rules: []string{"P1", "P2", "P3"}, run: refusals},
	{Number: 5, Name: "followers reject", Level: 2, Nodes: 3, Rules: []string{"P1", "P3", "P4"}, run: followersReject},
	{Number: 8, Name: "broken streams", Level: 1, Nodes: 1, Rules: []string{"P5", "P3", "D2"}, Process: true, run: brokenStreams},
}

func inFlight(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(l.scale(100, 1000, 10_000), 1)
	l.commit(l.scale(400, 3000, 30_000), 16)
	l.commit(l.scale(1000, 6000, 60_000), 256)
	l.converge()
}

func sizes(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	n, at := l.leader()
	limit := int(l.described.Limits.MaxProposalBytes)
	for i, size := range []int{0, 1, 4096, 256 << 10, 1<<20 - 64, limit - 64} {
		l.mustCommit(l.propose(n, at.Term, strings.Repeat(string(rune('a'+i)), size)))
	}
	if r := l.await(l.propose(n, at.Term, strings.Repeat("y", limit+1))); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrTooLarge) {
		l.checks.breaks("P7", "a proposal above the limit of %d bytes: %s, %v", limit, r.Outcome, r.Err)
	}
	l.commit(2, 1)
	l.converge()
}

func refusals(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	n, at := l.leader()
	l.commit(3, 1)
	refused := func(rule string, want error, term, sequence uint64) {
		r := l.raw(n, consensus.Proposal{Term: term, Sequence: sequence}, l.command())
		if r.Outcome != consensus.Rejected || !errors.Is(r.Err, want) {
			l.checks.breaks(rule, "in term %d, after sequence 3, a proposal of term %d and sequence %d: %s, %v", at.Term, term, sequence, r.Outcome, r.Err)
		}
	}
	refused("P1", consensus.ErrTermMismatch, at.Term+1, 1)
	if at.Term > 1 {
		refused("P1", consensus.ErrTermMismatch, at.Term-1, 1)
	}
	refused("P2", consensus.ErrOutOfSequence, at.Term, 9)
	refused("P2", consensus.ErrOutOfSequence, at.Term, 3)
	refused("P2", consensus.ErrOutOfSequence, at.Term, 1)
	l.commit(3, 1)
	l.converge()
}

func followersReject(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(50, 16)
	for round := range l.scale(10, 40, 200) {
		leader, at := l.leader()
		for _, n := range l.others(leader) {
			r := l.raw(n, consensus.Proposal{Term: at.Term, Sequence: uint64(round + 1)}, l.command())
			if leader.leadership() == at && r.Outcome == consensus.Committed {
				l.checks.breaks("P1", "replica %d follows replica %d in term %d, and commits a proposal", n.id, leader.id, at.Term)
			}
			if leader.leadership() == at && r.Outcome == consensus.Rejected && !errors.Is(r.Err, consensus.ErrNotLeader) {
				l.checks.breaks("P1", "a follower's proposal is rejected with %v, want %v", r.Err, consensus.ErrNotLeader)
			}
		}
		r := l.raw(leader, consensus.Proposal{Term: at.Term - 1, Sequence: 1}, l.command())
		if leader.leadership() == at && (r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrTermMismatch)) {
			l.checks.breaks("P1", "a proposal of the term before: %s, %v", r.Outcome, r.Err)
		}
	}
	l.commit(50, 16)
	l.converge()
}

// brokenStreams breaks the streams at random moments under load: what the plugin
// says it accepted last must be true.
func brokenStreams(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	n, at := l.leader()
	for range l.scale(5, 20, 200) {
		l.commit(5, 4)
		var window []<-chan consensus.Result
		for range 1 + l.random.IntN(100) {
			window = append(window, l.propose(n, at.Term, l.command()))
		}
		l.pause(time.Duration(l.random.IntN(5)) * time.Millisecond)
		positions, err := n.process().Reconnect(l.ctx)
		if err != nil {
			l.giveUp("P5", "the streams cannot be opened again: %v", err)
		}
		for _, w := range window {
			l.await(w)
		}
		if len(positions) != 1 || positions[0].GetTerm() != at.Term {
			l.giveUp("P5", "after a broken stream the leader of term %d gives the positions %v", at.Term, positions)
		}
		l.resume(n, at.Term, positions[0].GetLastSequence())
	}
	l.commit(20, 4)
	l.converge()
}

// resume makes the sequencer go on after last: what the plugin accepted must be
// delivered, and what it did not must never be.
func (l *lab) resume(n *node, term, last uint64) {
	l.eventually("P5", "everything that was accepted before the stream broke is delivered", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.state.Gate.Term == term && n.state.Gate.Sequence >= last
	})
	if got := n.copyState().Gate.Sequence; got > last {
		l.checks.breaks("P5", "the last accepted sequence is said to be %d, and %d is delivered", last, got)
	}
	l.sequences.mu.Lock()
	defer l.sequences.mu.Unlock()
	delete(l.sequences.unsure, term)
	delete(l.sequences.rejected, term)
	l.sequences.next[term] = last + 1
}
