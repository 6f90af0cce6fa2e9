package kit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/sdk/faults"
)

var storageCases = []Case{
	{Number: 6, Name: "more proposals than the window takes", Level: 1, Nodes: 1, Rules: []string{"P2", "P6", "P3"}, Faults: true, run: overrun},
	{Number: 16, Name: "writes and syncs fail", Level: 1, Nodes: 1, Rules: []string{"S1", "S2", "L8"}, Faults: true, run: failingStorage},
	{Number: 16, Name: "reads fail at recovery", Level: 1, Nodes: 1, Rules: []string{"S2", "L8", "D3"}, Process: true, Faults: true, run: failingReads},
	{Number: 16, Name: "the file system is full", Level: 1, Nodes: 1, Rules: []string{"S1", "S2", "L8"}, Process: true, run: fullFileSystem},
	{Number: 16, Name: "a leader's disk fails under load", Level: 3, Nodes: 3, Rules: []string{"S1", "S2", "P3", "D3"}, Process: true, Faults: true, run: leadersDiskFails},
	{Number: 17, Name: "syncs are seen while they last", Level: 1, Nodes: 1, Rules: []string{"L3"}, Process: true, Faults: true, run: slowSyncsAreSeen},
	{Number: 17, Name: "slow disks elect nobody", Level: 3, Nodes: 3, Rules: []string{"T7", "P3"}, Faults: true, Alone: true, run: slowDisks},
}

// withFaults gives n a directory for its faults, from its next life on.
func (n *node) withFaults() {
	n.faults = filepath.Join(n.l.dir, fmt.Sprintf("faults-%d", n.id))
	n.l.must(os.MkdirAll(n.faults, 0o700))
}

// fault makes an operation of n's storage go wrong, or right again if what is empty.
func (n *node) fault(operation, what string) {
	path := filepath.Join(n.faults, operation)
	if what == "" {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			n.l.must(err)
		}
		return
	}
	draft := path + ".tmp" // so that it is not read half written
	n.l.must(os.WriteFile(draft, []byte(what), 0o600))
	n.l.must(os.Rename(draft, path))
}

// armed ends the case unless n looks for faults: a plugin need not, and what is
// not injected proves nothing.
func (l *lab) armed(n *node) {
	if _, err := os.Stat(filepath.Join(n.faults, faults.Armed)); err != nil {
		l.notRun("the plugin does not look for faults in %s", faults.DirKey)
	}
}

// overrun proposes more than the window takes while the disk is slow: what is
// beyond it must be refused at once, and nothing else.
func overrun(l *lab) {
	n := l.nodes[0]
	n.withFaults()
	n.start(consensus.OpenBootstrap)
	l.commit(20, 4)
	l.armed(n)
	limit := int(l.described.Limits.MaxInflightProposals)
	overrun := 0
	for round := 0; overrun < l.scale(1, 3, 10) && round < 3+l.scale(1, 3, 10); round++ {
		_, at := l.leader()
		n.fault(faults.Sync, "delay 2s")
		results := l.flood(n, at.Term, limit+limit/4)
		last := l.await(results[len(results)-1])
		select {
		case r := <-results[0]:
			// The disk was faster than the proposals, or the plugin has waited for it.
			l.log.Warn("the window was not overrun in time", "first", r.Outcome.String())
			results[0] = answered(r)
		default:
			overrun++
			if last.Outcome != consensus.Rejected || !errors.Is(last.Err, consensus.ErrOverloaded) {
				l.checks.breaks("P6", "the limit is %d, no proposal is decided, and number %d is %s: %v", limit, len(results), last.Outcome, last.Err)
			}
		}
		results[len(results)-1] = answered(last)
		n.fault(faults.Sync, "")
		l.withinWindow(at.Term, results, limit)
		l.commit(20, 4)
	}
	if overrun == 0 {
		l.checks.breaks("P6", "proposals beyond the window of %d are refused only once earlier ones are decided, after 2 s", limit)
	}
	l.converge()
}

func answered(r consensus.Result) <-chan consensus.Result {
	results := make(chan consensus.Result, 1)
	results <- r
	return results
}

// flood proposes count commands in one go, with sequences that follow on what
// the sequencer has had committed, and without its patience.
func (l *lab) flood(n *node, term uint64, count int) []<-chan consensus.Result {
	l.sequences.mu.Lock()
	next := max(l.sequences.next[term], 1)
	l.sequences.mu.Unlock()
	c := n.client()
	results := make([]<-chan consensus.Result, count)
	for i := range results {
		command, sequence := l.command(), next+uint64(i)
		l.checks.proposed(command, n.id)
		env := consensus.Envelope{ExpectedTerm: term, Sequence: sequence, Payload: []byte(command)}
		answer, out := c.Enqueue(consensus.Proposal{Group: consensus.Metadata, Term: term, Sequence: sequence, Data: env.Append(nil)}), make(chan consensus.Result, 1)
		l.background.Go(func() {
			select {
			case r := <-answer:
				l.checks.result(command, r)
				out <- r
			case <-l.ctx.Done():
			}
		})
		results[i] = out
	}
	return results
}

// withinWindow wants that what fitted into the window was committed, and lets
// the sequencer go on behind it.
func (l *lab) withinWindow(term uint64, window []<-chan consensus.Result, limit int) {
	committed, refused := 0, 0
	for i, results := range window {
		r := l.await(results)
		switch {
		case r.Outcome == consensus.Committed && committed == i:
			committed++
		case errors.Is(r.Err, consensus.ErrOverloaded):
			refused++
			if i < limit {
				l.giveUp("P6", "proposal %d of a window of %d is refused: %v", i+1, limit, r.Err)
			}
		case r.Outcome != consensus.Rejected:
			l.giveUp("P2", "proposal %d, after %d that were committed and others that were refused, is %s: %v", i+1, committed, r.Outcome, r.Err)
		}
	}
	l.figure("overloaded", float64(refused))
	l.sequences.mu.Lock()
	defer l.sequences.mu.Unlock()
	l.sequences.next[term] = max(l.sequences.next[term], 1) + uint64(committed)
}

// failingStorage makes writes and syncs fail: nothing is committed from then on,
// the process ends with 74, and what was committed before is there afterwards.
func failingStorage(l *lab) {
	n := l.nodes[0]
	n.withFaults()
	n.start(consensus.OpenBootstrap)
	l.commit(20, 4)
	l.armed(n)
	ways := [][2]string{{faults.Sync, "error EIO"}, {faults.Write, "error ENOSPC"}, {faults.Write, "error EIO"}, {faults.Sync, "error ENOSPC"}}
	for i := range l.scale(2, 4, 20) {
		operation, what := ways[i%len(ways)][0], ways[i%len(ways)][1]
		_, at := l.leader()
		n.fault(operation, what)
		r := l.await(l.propose(n, at.Term, l.command()))
		if r.Outcome == consensus.Committed {
			l.checks.breaks("S2", "every %s fails with %q, and a proposal is committed at %d", operation, what, r.Index)
		}
		l.storageExit(n, fmt.Sprintf("every %s fails with %q", operation, what))
		n.fault(operation, "")
		n.start(consensus.OpenRecover)
		l.leader()
		l.converge()
		l.commit(20, 4)
	}
	l.converge()
}

// storageExit wants that n ends with 74. In one process nothing ends: there it
// must not take anything any more, even if the disk works again.
func (l *lab) storageExit(n *node, why string) {
	p := n.process()
	if p == nil {
		at := n.leadership()
		if at.Role == consensus.LeaderReady {
			if r := l.await(l.propose(n, at.Term, l.command())); r.Outcome == consensus.Committed {
				l.checks.breaks("S2", "%s, and it goes on", why)
			}
		}
		n.kill()
		return
	}
	n.ending.Store(true)
	if !l.within(l.opts.Patience, func() bool { return hasExited(p) }) {
		l.checks.breaks("S2", "%s, and the process lives on", why)
	} else if code := p.ExitCode(); code != consensus.ExitStorage {
		l.checks.breaks("L8", "%s, and the process exits with %d, want %d", why, code, consensus.ExitStorage)
	}
	n.kill()
}

func hasExited(p Process) bool {
	select {
	case <-p.Exited():
		return true
	default:
		return false
	}
}

// failingReads makes recovery impossible: it must be refused with 74, and a
// later one must find everything.
func failingReads(l *lab) {
	n := l.nodes[0]
	n.withFaults()
	n.start(consensus.OpenBootstrap)
	l.commit(200, 16)
	l.converge()
	l.armed(n)
	n.kill()
	n.fault(faults.Read, "error EIO")
	if err := n.tryStart(consensus.OpenRecover); err == nil {
		// It may not have read anything yet; then it must not get far.
		p := n.process()
		n.ending.Store(true)
		if !l.within(3*l.timing.ElectionTimeout, func() bool { return hasExited(p) }) {
			if leader, _ := l.ready(); leader != nil {
				l.checks.breaks("S2", "every read of the log fails, and the replica recovers and leads")
			}
		}
		n.kill()
	} else if code := exitCodeOf(err); code != consensus.ExitStorage {
		l.checks.breaks("L8", "every read of the log fails, and the start ends with %d, want %d: %v", code, consensus.ExitStorage, err)
	}
	n.fault(faults.Read, "")
	n.start(consensus.OpenRecover)
	l.leader()
	l.converge()
	l.commit(5, 1)
	l.converge()
}

// tmpfsBytes is the size of the file system that is filled up. It takes a few of
// the segments that logs are kept in.
const tmpfsBytes = 256 << 20

// fullFileSystem fills the file system under a replica up. It must end with 74,
// or go on with what it has; what it committed is there when there is room again.
func fullFileSystem(l *lab) {
	n := l.nodes[0]
	if err := mountTmpfs(n.dir, tmpfsBytes); err != nil {
		l.notRun("a small file system cannot be mounted: %v", err)
	}
	l.unmount = append(l.unmount, func() { l.checkMachine(unmountTmpfs(n.dir)) })
	l.must(os.Chmod(n.dir, 0o700))
	n.start(consensus.OpenBootstrap)
	l.commit(20, 4)
	filler := filepath.Join(n.dir, "ballast")
	l.fill(filler)
	p := n.process()
	n.ending.Store(true)
	padding := strings.Repeat("x", 256<<10)
	_, at := l.leader()
	ended := false
	for range 2 * tmpfsBytes / len(padding) {
		if r := l.await(l.propose(n, at.Term, l.command()+padding)); r.Outcome != consensus.Committed {
			ended = true
			break
		}
	}
	if !ended {
		l.giveUp("S2", "%d MiB were committed on a full file system of %d MiB", 2*tmpfsBytes>>20, tmpfsBytes>>20)
	}
	if !l.within(l.opts.Patience, func() bool { return hasExited(p) }) {
		l.checks.breaks("S2", "the file system is full, nothing can be committed, and the process lives on")
	} else if code := p.ExitCode(); code != consensus.ExitStorage {
		l.checks.breaks("L8", "the file system is full, and the process exits with %d, want %d", code, consensus.ExitStorage)
	}
	n.kill()
	l.must(os.Remove(filler))
	n.start(consensus.OpenRecover)
	l.leader()
	l.converge()
	l.commit(5, 1)
	l.converge()
}

// fill writes a file until there is no room.
func (l *lab) fill(path string) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	l.must(err)
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	if !isFull(err) {
		l.must(err)
	}
	l.must(f.Close())
}

// checkMachine reports what went wrong with the machine after the case.
func (l *lab) checkMachine(err error) {
	if err != nil {
		l.checks.breaks("kit", "%v", err)
	}
}

// leadersDiskFails lets the leader's disk fail: the others go on, and it comes
// back with everything that it has promised.
func leadersDiskFails(l *lab) {
	for _, n := range l.nodes {
		n.withFaults()
	}
	l.startAll(consensus.OpenBootstrap)
	l.commit(20, 4)
	for _, n := range l.nodes {
		l.armed(n)
	}
	stop := l.load(16)
	for i := range l.scale(3, 8, 40) {
		l.advance(20)
		leader, _ := l.leader()
		operation := []string{faults.Sync, faults.Write}[i%2]
		leader.fault(operation, "error EIO")
		l.storageExit(leader, fmt.Sprintf("every %s fails", operation))
		l.advance(20)
		leader.fault(operation, "")
		leader.start(consensus.OpenRecover)
	}
	stop()
	l.converge()
}

// slowSyncsAreSeen wants a sync that takes long to show in the health, and the
// loop to turn meanwhile.
func slowSyncsAreSeen(l *lab) {
	n := l.nodes[0]
	n.withFaults()
	n.start(consensus.OpenBootstrap)
	l.commit(20, 4)
	l.armed(n)
	_, at := l.leader()
	n.fault(faults.Sync, "delay 700ms")
	pending := l.propose(n, at.Term, l.command())
	var longest time.Duration
	l.eventually("L3", "a sync of 700 ms shows as current_sync_ms", func() bool {
		_, sync, err := n.process().Ask(l.ctx)
		if err != nil {
			l.giveUp("L3", "health during a slow sync: %v", err)
		}
		longest = max(longest, sync)
		return longest >= 100*time.Millisecond
	})
	l.figure("current_sync_ms", float64(longest.Milliseconds()))
	n.fault(faults.Sync, "")
	l.mustCommit(pending)
	l.eventually("L3", "a sync that is over shows no more", func() bool {
		_, sync, err := n.process().Ask(l.ctx)
		return err == nil && sync < 700*time.Millisecond
	})
	l.commit(5, 1)
	l.converge()
}

// slowDisks wants that disks which are slow, but faster than an election timeout,
// cost time and no leader.
func slowDisks(l *lab) {
	l.timing = consensus.Timing{Heartbeat: 100 * time.Millisecond, ElectionTimeout: time.Second}
	for _, n := range l.nodes {
		n.withFaults()
	}
	l.startAll(consensus.OpenBootstrap)
	l.commit(20, 4)
	for _, n := range l.nodes {
		l.armed(n)
		n.fault(faults.Sync, "delay 150ms")
	}
	stop := l.load(8)
	lost := 0 // one window may be bad luck: a replica without a processor looks the same
	for range 5 {
		leader, before := l.leader()
		began := l.checks.count()
		stalled := l.longestStall(time.Duration(l.scale(3, 6, 60)) * time.Second)
		_, after := l.leader()
		l.figure("commits_on_slow_disks", float64(l.checks.count()-began))
		if after.Term == before.Term {
			lost = 0
			break
		}
		if lost++; lost == 3 && stalled < l.timing.ElectionTimeout/4 {
			l.checks.breaks("T7", "every sync takes 150 ms, the election timeout is %s, and replica %d lost the lead of term %d, the third in a row: it is term %d",
				l.timing.ElectionTimeout, leader.id, before.Term, after.Term)
			break
		}
	}
	if lost > 3 {
		stop()
		l.notRun("the machine stands still again and again")
	}
	for _, n := range l.nodes {
		n.fault(faults.Sync, "")
	}
	stop()
	l.converge()
}

// longestStall lets time pass and tells how long this process got no processor
// in it: what happens to the replicas then is the machine's fault.
func (l *lab) longestStall(d time.Duration) time.Duration {
	var longest time.Duration
	last := time.Now()
	l.within(d, func() bool {
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		return false
	})
	return longest
}
