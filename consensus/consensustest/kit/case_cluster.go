package kit

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/quorate/quorate/consensus"
)

var clusterCases = []Case{
	{Number: 9, Name: "elections", Level: 2, Nodes: 3, Rules: []string{"T1", "T2", "T3", "T4", "T6", "R1", "M4"}, run: elections},
	{Number: 10, Name: "leaders die under load", Level: 2, Nodes: 3, Rules: []string{"D3", "P3", "T2", "T3", "S1"}, run: leadersDie},
	{Number: 11, Name: "all die at once", Level: 2, Nodes: 3, Rules: []string{"S1", "T1", "T3", "D3"}, run: allDie},
	{Number: 13, Name: "a leader without followers steps down", Level: 2, Nodes: 3, Rules: []string{"T5", "P3", "R1"}, run: withoutFollowers},
	{Number: 15, Name: "a leader is frozen", Level: 3, Nodes: 3, Rules: []string{"R1", "P1", "P3", "T2", "D3"}, Process: true, run: frozenLeader},
	{Number: 21, Name: "transfer of leadership", Level: 3, Nodes: 3, Rules: []string{"P2", "P3", "T2", "D3"}, Needs: consensus.CapLeaderTransfer, run: transfer},
}

func elections(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	for range l.scale(4, 25, 200) {
		leader, at := l.leader()
		for _, n := range l.nodes {
			l.eventually("T6", "all know the leader", func() bool {
				s := n.leadership()
				return s.Leader == leader.id && s.Term == at.Term || leader.leadership().Term != at.Term
			})
		}
		l.commit(5, 1)
		l.readsWhatIsCommitted()
		leader, _ = l.leader()
		leader.kill()
		l.commit(5, 1)
		leader.start(consensus.OpenRecover)
	}
	l.converge()
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	leader, _ := l.leader()
	if m, err := leader.client().Members(ctx, consensus.Metadata); err != nil || len(m.Members) != len(l.nodes) {
		l.checks.breaks("M4", "%d were started, the members are %+v: %v", len(l.nodes), m, err)
	}
}

// readsWhatIsCommitted wants a read index that covers everything committed so far.
// An index that does not is wrong whoever gives it, and whatever changes meanwhile. A
// refusal is not: who leads may be just losing the lead, and be the first to know.
// But somebody must give one at last.
func (l *lab) readsWhatIsCommitted() {
	highest := l.checks.highestCommitted()
	var last error
	given := l.within(l.opts.Patience, func() bool {
		leader, at := l.ready()
		if leader == nil {
			return false
		}
		index, term, err := l.readIndex(leader, l.opts.Patience)
		if err != nil {
			last = err
			return false
		}
		if index < highest {
			l.checks.breaks("R1", "replica %d gives read index %d in term %d, and %d was committed before", leader.id, index, term, highest)
		} else if term == at.Term && index < at.ReadyIndex {
			l.checks.breaks("R1", "replica %d gives read index %d in term %d, in which it was ready at %d", leader.id, index, term, at.ReadyIndex)
		}
		return true
	})
	if !given {
		l.giveUp("R1", "no leader gives a read index for %s, the last error is %v%s", l.opts.Patience, last, l.status())
	}
}

func leadersDie(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	var times []float64
	stop := l.load(16)
	for range l.scale(4, 15, 50) {
		l.advance(20)
		leader, _ := l.leader()
		died := time.Now()
		leader.kill()
		l.advance(1)
		times = append(times, float64(time.Since(died).Milliseconds()))
		l.advance(20)
		l.pause(time.Duration(l.random.IntN(200)) * time.Millisecond)
		leader.start(consensus.OpenRecover)
	}
	stop()
	l.converge()
	slices.Sort(times)
	l.figure("failover_p50_ms", times[len(times)/2])
	l.figure("failover_max_ms", times[len(times)-1])
}

// advance waits until the load in the background has committed count more.
func (l *lab) advance(count int) {
	want := l.checks.count() + count
	l.eventually("P3", "the load goes on", func() bool { return l.checks.count() >= want })
}

func allDie(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	for range l.scale(3, 8, 20) {
		l.leader()
		stop := l.load(32)
		l.advance(30)
		l.pause(time.Duration(l.random.IntN(50)) * time.Millisecond)
		l.killAll()
		stop()
		l.startAll(consensus.OpenRecover)
		l.commit(5, 1)
		l.converge()
	}
}

// withoutFollowers takes a leader's followers away.
func withoutFollowers(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(10, 4)
	leader, at := l.leader()
	for _, n := range l.others(leader) {
		n.kill()
	}
	lost := l.propose(leader, at.Term, l.command())
	l.eventually("T5", "a leader without followers steps down", func() bool {
		role := leader.leadership().Role
		return role != consensus.Leader && role != consensus.LeaderReady
	})
	if r := l.await(lost); r.Outcome == consensus.Committed {
		l.checks.breaks("P3", "committed without a quorum, at %d", r.Index)
	}
	if index, _, err := l.readIndex(leader, 500*time.Millisecond); err == nil {
		l.checks.breaks("R1", "a read index without a quorum: %d", index)
	}
	for _, n := range l.others(leader) {
		n.start(consensus.OpenRecover)
	}
	l.commit(10, 4)
	l.converge()
}

// frozenLeader stops the leader's process, lets the others go on, and wakes it:
// it must notice that it does not lead any more before it does anything.
func frozenLeader(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	for range l.scale(3, 8, 30) {
		l.commit(10, 4)
		leader, at := l.leader()
		p := leader.process()
		l.must(p.Signal(syscall.SIGSTOP))
		awake := false
		defer func() { // a frozen process would not even stop
			if !awake {
				_ = p.Signal(syscall.SIGCONT)
			}
		}()
		stale := l.propose(leader, at.Term, l.command()) // it waits in the socket
		l.eventually("T5", "the others elect a leader", func() bool {
			n, _ := l.readyAmong(l.others(leader))
			return n != nil
		})
		next, term := l.readyAmong(l.others(leader))
		l.pipeline(next, term, 20, 4)
		highest := l.checks.highestCommitted()
		l.must(p.Signal(syscall.SIGCONT))
		awake = true
		if index, _, err := l.readIndex(leader, 2*time.Second); err == nil && index < highest {
			l.checks.breaks("R1", "a leader that was frozen gives read index %d, and %d was committed meanwhile", index, highest)
		}
		// What left before the process stood still may have been committed below the next term.
		if r := l.await(stale); r.Outcome == consensus.Committed && r.Index >= term.ReadyIndex {
			l.checks.breaks("P1", "a leader that was frozen commits at %d in term %d, and term %d began at %d", r.Index, at.Term, term.Term, term.ReadyIndex)
		}
		l.commit(10, 4)
		l.converge()
	}
}

func (l *lab) readyAmong(nodes []*node) (*node, consensus.Leadership) {
	for _, n := range nodes {
		if s := n.leadership(); s.Role == consensus.LeaderReady && n.applied() >= s.ReadyIndex {
			return n, s
		}
	}
	return nil, consensus.Leadership{}
}

// transfer hands the leadership round, to replicas that are up, down, and itself.
func transfer(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(10, 4)
	stop := l.load(8)
	moved := 0
	for i := range l.scale(8, 30, 200) {
		leader, at := l.leader()
		to := l.nodes[(int(leader.id)+i%2)%len(l.nodes)]
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		err := leader.client().TransferLeadership(ctx, consensus.Metadata, to.id)
		cancel()
		if err == nil && l.within(5*time.Second, func() bool { n, s := l.ready(); return n == to && s.Term > at.Term }) {
			moved++
		}
		l.advance(10)
	}
	if moved == 0 {
		l.checks.breaks("P2", "the capability is claimed, and leadership never moved to where it was sent")
	}
	l.transferToTheDead()
	stop()
	l.converge()
}

func (l *lab) transferToTheDead() {
	leader, _ := l.leader()
	dead := l.others(leader)[0]
	dead.kill()
	ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
	defer cancel()
	if err := leader.client().TransferLeadership(ctx, consensus.Metadata, dead.id); err == nil {
		l.checks.breaks("P2", "a transfer to replica %d, which is down, is said to have succeeded", dead.id)
	}
	l.advance(10)
	dead.start(consensus.OpenRecover)
}
