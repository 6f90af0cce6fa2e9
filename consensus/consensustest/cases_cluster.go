package consensustest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
)

var clusterCases = []Case{
	{Name: "T2 three nodes elect a leader", Nodes: 3, Rules: []string{"T1", "T2", "T4", "T6", "R1"}, run: election},
	{Name: "D3 three nodes agree", Nodes: 3, Rules: []string{"D1", "D2", "D3", "P1", "P3"}, run: agreement},
	{Name: "T3 leaders die", Nodes: 3, Rules: []string{"T2", "T3", "T5", "P3", "D3"}, run: leadersDie},
	{Name: "S1 all die", Nodes: 3, Rules: []string{"S1", "T1", "T3", "D3"}, run: allDie},
	{Name: "T5 a leader alone steps down", Nodes: 3, Rules: []string{"T5", "P3"}, run: alone},
}

func election(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	leader, at := l.leader()
	for _, n := range l.nodes {
		l.eventually("T6", "all know the leader", func() bool {
			s := n.leadership()
			return s.Leader == leader.id && s.Term == at.Term || leader.leadership().Term != at.Term
		})
	}
	l.commit(10, 1)
	l.converge()
	leader, at = l.leader()
	index, term, err := leader.group.ReadIndex(l.t.Context())
	if leader.leadership() != at {
		return // it lost the lead meanwhile, and may have refused
	}
	if err != nil || term != at.Term || index < at.ReadyIndex {
		l.checks.breaks("R1", "read index %d in term %d, the leader was ready in term %d at %d: %v", index, term, at.Term, at.ReadyIndex, err)
	}
	for p, committed := range l.acknowledgedNow() {
		if index < committed {
			l.checks.breaks("R1", "read index %d, but %s was committed at %d before", index, p, committed)
		}
	}
	if m := leader.group.Members(); len(m.Members) != 3 {
		l.checks.breaks("M4", "three were started, the members are %+v", m)
	}
}

func agreement(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(300, 64)
	leader, at := l.leader()
	for _, n := range l.followers(leader) {
		r := l.await(l.propose(n, at.Term, l.payload()))
		l.next[at.Term]--
		if leader.leadership() == at && (r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrNotLeader)) {
			l.checks.breaks("P1", "a follower's proposal: %s, %v", r.Outcome, r.Err)
		}
	}
	r := l.await(l.propose(leader, at.Term-1, l.payload()))
	if leader.leadership() == at && (r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrTermMismatch)) {
		l.checks.breaks("P1", "a proposal of the term before: %s, %v", r.Outcome, r.Err)
	}
	l.commit(100, 16)
	l.converge()
	for _, n := range l.nodes {
		if s := n.group.Status(); s.CommitIndex == 0 || s.LastIndex < s.CommitIndex || s.FirstIndex == 0 {
			l.checks.breaks("L3", "replica %d: status %+v", n.id, s)
		}
	}
}

func leadersDie(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	for range 3 {
		l.insist(20)
		leader, at := l.leader()
		var window []<-chan consensus.Result
		for range 32 { // some of these will never be known
			window = append(window, l.propose(leader, at.Term, l.payload()))
		}
		leader.kill()
		for _, w := range window {
			l.await(w)
		}
		l.insist(20)
		leader.start(consensus.OpenRecover)
		l.insist(20)
		l.converge()
	}
}

func allDie(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.insist(100)
	for range 2 {
		leader, at := l.leader()
		for range 16 {
			l.propose(leader, at.Term, l.payload())
		}
		var dying sync.WaitGroup
		for _, n := range l.nodes {
			dying.Go(n.kill)
		}
		dying.Wait()
		l.startAll(consensus.OpenRecover)
		l.insist(10)
		l.converge()
	}
}

// alone takes a leader's followers away.
func alone(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.insist(10)
	leader, at := l.leader()
	for _, n := range l.followers(leader) {
		n.kill()
	}
	lost := l.propose(leader, at.Term, l.payload())
	l.eventually("T5", "a leader without followers steps down", func() bool {
		role := leader.leadership().Role
		return role != consensus.Leader && role != consensus.LeaderReady
	})
	if r := l.await(lost); r.Outcome == consensus.Committed {
		l.checks.breaks("P3", "committed without a quorum")
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := leader.group.ReadIndex(ctx); err == nil {
		l.checks.breaks("R1", "a read index without a quorum")
	}
	for _, n := range l.followers(leader) {
		n.start(consensus.OpenRecover)
	}
	l.insist(10)
	l.converge()
}
