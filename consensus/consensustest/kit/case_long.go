package kit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/faults"
)

var longCases = []Case{
	{Number: 28, Name: "performance card, one replica", Level: 1, Nodes: 1, Rules: []string{"P3"}, Alone: true, run: card},
	{Number: 28, Name: "performance card, three replicas", Level: 2, Nodes: 3, Rules: []string{"P3"}, Alone: true, run: card},
	{Number: 27, Name: "soak: all faults at random", Level: 4, Nodes: 3, Rules: []string{"T1", "T2", "T3", "P3", "D3", "S1", "S5", "L9"}, Links: true, run: soak},
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
	l.hop()
	began, count := time.Now(), l.scale(1000, 5000, 50_000)
	l.commit(count, 256)
	l.figure("commits_per_second_256_in_flight", float64(count)/time.Since(began).Seconds())
	l.converge()
	l.replay()
}

// replay measures how fast a replica that comes back gives its host the whole log.
func (l *lab) replay() {
	n := l.nodes[l.random.IntN(len(l.nodes))]
	target := n.applied()
	n.kill()
	n.start(consensus.OpenRecover)
	l.eventually("D1", "a replica that comes back delivers", func() bool { return n.applied() > 0 })
	began, first := time.Now(), n.applied()
	if !l.whileProgress(n.applied, func() bool { return n.applied() >= target }) {
		l.giveUp("D1", "replica %d stands still at %d of %d%s", n.id, n.applied(), target, l.status())
	}
	if seconds := time.Since(began).Seconds(); target > first && seconds > 0 {
		l.figure("replayed_per_second", float64(target-first)/seconds)
	}
}

// hop measures how long the way to the plugin and back takes: a proposal of a term
// that is not is refused without anybody else being asked.
func (l *lab) hop() {
	n, at := l.leader()
	var times []float64
	for range l.scale(200, 1000, 10_000) {
		began := time.Now()
		l.raw(n, consensus.Proposal{Term: at.Term + 1_000_000, Sequence: 1}, "hop")
		times = append(times, float64(time.Since(began).Microseconds())/1000)
	}
	slices.Sort(times)
	l.figure("hop_p50_ms", times[len(times)/2])
	l.figure("hop_p99_ms", times[len(times)*99/100])
}

// soak does everything to a cluster, by chance.
func soak(l *lab) {
	for _, n := range l.nodes {
		n.withFaults()
	}
	l.startAll(consensus.OpenBootstrap)
	stop := l.pacedLoad(16, 5*time.Millisecond)
	l.advance(1000)
	before := l.footprints()
	var steps int
	for until := time.Now().Add(l.opts.Soak); time.Now().Before(until); steps++ {
		l.mistreat(l.nodes[l.random.IntN(len(l.nodes))])
		l.advance(5)
	}
	stop()
	l.converge()
	l.figure("soak_steps", float64(steps))
	l.figure("soak_commits", float64(l.checks.count()))
	l.grewLittle(before)
}

// mistreat does one thing to n, or to the network.
func (l *lab) mistreat(n *node) {
	switch l.random.IntN(8) {
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
		_, _ = n.save(0) // a newer one may have come from the leader
	case 4:
		l.links.hangUp()
	case 5: // nothing happens if the plugin takes no faults
		n.fault(faults.Sync, fmt.Sprintf("delay %dms", 10+l.random.IntN(200)))
		l.pause(time.Duration(l.random.IntN(2000)) * time.Millisecond)
		n.fault(faults.Sync, "")
	case 6:
		n.shutDown()
		l.pause(time.Duration(l.random.IntN(500)) * time.Millisecond)
		n.start(consensus.OpenRecover)
	case 7:
		ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
		defer cancel()
		if leader, _ := l.ready(); leader != nil {
			_ = leader.client().TransferLeadership(ctx, consensus.Metadata, n.id) // it may refuse
		}
	}
}

// footprint is what a replica takes of the machine.
type footprint struct{ memory, descriptors, disk int }

func (l *lab) footprints() []footprint {
	all := make([]footprint, len(l.nodes))
	for i, n := range l.nodes {
		if p := n.process(); p != nil {
			all[i] = footprint{memory: residentBytes(p.PID()), descriptors: openFiles(p.PID()), disk: l.sizeOf(n.dir)}
		}
	}
	return all
}

// How much a replica may have grown in a soak, once its host has saved a snapshot.
// Segments that are kept ready, caches and the kit's own snapshots are in it.
const (
	memoryGrowth      = 192 << 20
	descriptorsGrowth = 64
	diskGrowth        = 512 << 20
)

// grewLittle wants that what replicas take does not follow how long they ran.
func (l *lab) grewLittle(before []footprint) {
	for _, n := range l.nodes {
		_, _ = n.save(0) // one may be as new
	}
	var worst footprint
	for i, now := range l.footprints() {
		grown := footprint{now.memory - before[i].memory, now.descriptors - before[i].descriptors, now.disk - before[i].disk}
		if grown.memory > memoryGrowth || grown.descriptors > descriptorsGrowth || grown.disk > diskGrowth {
			l.checks.breaks("L9", "in %s replica %d grew from %+v to %+v (bytes, files, bytes)", l.opts.Soak, l.nodes[i].id, before[i], now)
		}
		worst = footprint{max(worst.memory, now.memory), max(worst.descriptors, now.descriptors), max(worst.disk, now.disk)}
	}
	l.figure("memory_mib", float64(worst.memory>>20))
	l.figure("descriptors", float64(worst.descriptors))
	l.figure("disk_mib", float64(worst.disk>>20))
}

// openFiles counts a process's descriptors, 0 where that cannot be told.
func openFiles(pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(entries)
}

// sizeOf is what a directory holds. Files may vanish while it is looked at.
func (l *lab) sizeOf(dir string) (size int) {
	l.must(filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			size += int(info.Size())
		}
		return nil
	}))
	return size
}
