package kit

import (
	"slices"
	"syscall"
	"time"

	"github.com/quorate/quorate/consensus"
)

var longCases = []Case{
	{Number: 28, Name: "performance card, one replica", Level: 1, Nodes: 1, Rules: []string{"P3"}, Alone: true, run: card},
	{Number: 28, Name: "performance card, three replicas", Level: 2, Nodes: 3, Rules: []string{"P3"}, Alone: true, run: card},
	{Number: 27, Name: "soak: all faults at random", Level: 4, Nodes: 3, Rules: []string{"T1", "T2", "T3", "P3", "D3", "S1", "S5"}, Links: true, run: soak},
}

// card measures commits; it judges nothing but that they happen.
func card(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(20, 1)
	n, at := l.leader()
	var times []float64
	for range l.scale(100, 500, 5000) {
		began := time.Now()
		if r := l.await(l.propose(n, at.Term, l.command())); r.Outcome != consensus.Committed {
			n, at = l.leader()
			continue
		}
		times = append(times, float64(time.Since(began).Microseconds())/1000)
	}
	if len(times) == 0 {
		l.giveUp("P3", "nothing was committed")
	}
	slices.Sort(times)
	l.figure("commit_p50_ms", times[len(times)/2])
	l.figure("commit_p99_ms", times[len(times)*99/100])
	began, count := time.Now(), l.scale(1000, 5000, 50_000)
	l.commit(count, 256)
	l.figure("commits_per_second_256_in_flight", float64(count)/time.Since(began).Seconds())
	l.converge()
}

// soak does everything to a cluster, by chance.
func soak(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	stop := l.load(16)
	for until := time.Now().Add(l.opts.Soak); time.Now().Before(until); {
		n := l.nodes[l.random.IntN(len(l.nodes))]
		switch l.random.IntN(5) {
		case 0:
			n.kill()
			l.pause(time.Duration(l.random.IntN(500)) * time.Millisecond)
			n.start(consensus.OpenRecover)
		case 1:
			l.links.isolate(n, lost[l.random.IntN(len(lost))])
			l.pause(time.Duration(l.random.IntN(2000)) * time.Millisecond)
			l.links.heal()
		case 2:
			if p := n.process(); p != nil {
				l.must(p.Signal(syscall.SIGSTOP))
				l.pause(time.Duration(l.random.IntN(2000)) * time.Millisecond)
				l.must(p.Signal(syscall.SIGCONT))
			}
		case 3:
			_, _ = n.save(l.random.IntN(1 << 20)) // a newer one may have come from the leader
		case 4:
			l.links.hangUp()
		}
		l.advance(5)
	}
	stop()
	l.converge()
}
