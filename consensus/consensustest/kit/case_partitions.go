package kit

import (
	"errors"
	"time"

	"github.com/quorate/quorate/consensus"
)

var partitionCases = []Case{
	{Number: 13, Name: "a leader is cut off", Level: 3, Nodes: 3, Rules: []string{"T5", "T2", "P3", "R1", "D3"}, Links: true, run: cutOff},
	{Number: 13, Name: "a follower is cut off", Level: 3, Nodes: 3, Rules: []string{"PRE_VOTE", "D3"}, Links: true, run: followerCutOff},
	{Number: 13, Name: "one-way links and bridges", Level: 3, Nodes: 3, Rules: []string{"T2", "P3", "D3"}, Links: true, run: oddPartitions},
	{Number: 13, Name: "a flapping network", Level: 3, Nodes: 3, Rules: []string{"T2", "P3", "D3", "T5"}, Links: true, run: flapping},
	{Number: 14, Name: "slow links that break", Level: 3, Nodes: 3, Rules: []string{"S5", "S6", "D3", "P3"}, Links: true, run: slowLinks},
	{Number: 19, Name: "linearizability under crashes", Level: 3, Nodes: 3, Rules: []string{"R1", "P3", "D3"}, run: func(l *lab) { linearizable(l, crashes) }},
	{Number: 19, Name: "linearizability under partitions", Level: 3, Nodes: 3, Rules: []string{"R1", "P3", "D3"}, Links: true, run: func(l *lab) { linearizable(l, partitions) }},
}

// ways of losing the network; bytes that were frozen arrive late, over old
// connections, when new ones are up already.
var lost = []traffic{{cut: true}, {frozen: true}}

func cutOff(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	for i := range l.scale(4, 10, 50) {
		l.commit(10, 4)
		leader, at := l.leader()
		l.links.isolate(leader, lost[i%2])
		doomed := l.propose(leader, at.Term, l.command())
		l.eventually("T5", "a leader that is cut off steps down", func() bool {
			s := leader.leadership()
			return s.Role != consensus.Leader && s.Role != consensus.LeaderReady
		})
		if r := l.await(doomed); r.Outcome == consensus.Committed {
			l.checks.breaks("P3", "committed at %d by a leader that was cut off", r.Index)
		}
		if index, _, err := l.readIndex(leader, 500*time.Millisecond); err == nil {
			l.checks.breaks("R1", "a replica that is cut off gives read index %d", index)
		}
		l.eventually("T4", "the others elect a leader", func() bool {
			n, _ := l.readyAmong(l.others(leader))
			return n != nil
		})
		l.links.heal()
		l.commit(10, 4)
		l.converge()
	}
}

// followerCutOff wants that a replica which cannot be elected does not drive the
// terms up, nor the leader out when it comes back.
func followerCutOff(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(10, 4)
	leader, before := l.leader()
	follower := l.others(leader)[0]
	for range l.scale(3, 6, 20) {
		l.links.isolate(follower, traffic{cut: true})
		l.pause(10 * l.timing.ElectionTimeout)
		l.links.heal()
		l.commit(10, 4)
		l.converge()
	}
	won, highest := l.checks.elections()
	if highest > before.Term+uint64(won)+3 {
		l.checks.breaks("PRE_VOTE", "a follower was cut off, %d elections were won, and the term went from %d to %d", won, before.Term, highest)
	}
}

// oddPartitions breaks links so that replicas disagree on who is there.
func oddPartitions(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	stop := l.load(8)
	for i := range l.scale(4, 12, 60) {
		l.advance(10)
		leader, _ := l.leader()
		rest := l.others(leader)
		t := lost[i%2]
		switch i % 4 {
		case 0: // the leader is heard by nobody
			for _, n := range rest {
				l.links.set(leader, n, t)
			}
		case 1: // a bridge: the leader and one follower see each other through the third only
			l.links.split(leader, rest[0], t)
		case 2: // a ring: everybody hears one of the others
			l.links.set(leader, rest[0], t)
			l.links.set(rest[0], rest[1], t)
			l.links.set(rest[1], leader, t)
		case 3: // the leader hears nobody
			for _, n := range rest {
				l.links.set(n, leader, t)
			}
		}
		l.pause(5 * l.timing.ElectionTimeout)
		l.links.heal()
	}
	l.advance(10)
	stop()
	l.converge()
}

func flapping(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	stop := l.load(8)
	l.advance(10)
	for range l.scale(30, 100, 600) {
		a := l.nodes[l.random.IntN(len(l.nodes))]
		l.links.isolate(a, lost[l.random.IntN(len(lost))])
		l.pause(time.Duration(20+l.random.IntN(100)) * time.Millisecond)
		l.links.heal()
		l.pause(time.Duration(20+l.random.IntN(100)) * time.Millisecond)
	}
	l.advance(10)
	stop()
	l.converge()
}

// slowLinks delays one replica's links and breaks connections, while it needs a
// snapshot.
func slowLinks(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	down := l.fallBehind(l.scale(1<<20, 4<<20, 16<<20))
	for _, n := range l.others(down) {
		l.links.set(n, down, traffic{delay: 10 * time.Millisecond})
		l.links.set(down, n, traffic{delay: 10 * time.Millisecond})
	}
	down.start(consensus.OpenRecover)
	stop := l.load(4)
	for range l.scale(5, 20, 100) {
		l.advance(10)
		l.pause(time.Duration(100+l.random.IntN(200)) * time.Millisecond)
		l.links.hangUp()
	}
	stop()
	l.converge()
	l.links.heal()
	meta, r, err := down.client().Snapshot(l.ctx, consensus.Metadata)
	if err != nil {
		l.checks.breaks("D5", "replica %d was down past the compaction, and has no snapshot: %v", down.id, err)
		return
	}
	if _, err := readMachine(meta, r); err != nil && !errors.Is(err, consensus.ErrNoSnapshot) {
		l.checks.breaks("S4", "replica %d: snapshot %+v: %v", down.id, meta, err)
	}
}
