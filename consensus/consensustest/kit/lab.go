package kit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest/ports"
)

// lab is the cluster that one case works with.
type lab struct {
	ctx        context.Context
	front      Front
	opts       Options
	described  consensus.Description
	log        *slog.Logger
	dir        string
	clusterID  string
	random     *rand.Rand // of the case's own goroutine
	checks     *checks
	sequences  *sequencer
	background sync.WaitGroup
	serials    atomic.Int64

	nodes   []*node // only the case's goroutine adds to them; see everybody
	tuning  consensus.GroupTuning
	timing  consensus.Timing
	strange bool          // every message to the replicas has fields that nobody knows
	skipped string        // why the case cannot be run to its end
	unmount []func()      // what was mounted
	ports   []*ports.Set  // of all replicas, whether they are up or not
	links   *network      // nil: no proxies
	lease   time.Duration // of the hosts; 0 = for ever
	extra   []consensus.GroupID
	figures map[string]float64
	mu      sync.Mutex
}

// abandoned is what giveUp panics with.
type abandoned struct{}

// giveUp reports that rule does not hold and ends the case. Only the case's own
// goroutine calls it.
func (l *lab) giveUp(rule, format string, args ...any) {
	if l.ctx.Err() == nil {
		l.checks.breaks(rule, format, args...)
	}
	panic(abandoned{})
}

// notRun ends the case, which judges nothing; why goes into the report. Only the
// case's own goroutine calls it.
func (l *lab) notRun(format string, args ...any) {
	l.skipped = fmt.Sprintf(format, args...)
	panic(abandoned{})
}

// failed ends the case because of the machine that the kit runs on.
func (l *lab) must(err error) {
	if err != nil {
		l.giveUp("kit", "%v", err)
	}
}

// addNodes makes room for more replicas.
func (l *lab) addNodes(count int) {
	for range count {
		id := uint64(len(l.nodes) + 1)
		n := &node{l: l, id: id, dir: filepath.Join(l.dir, fmt.Sprintf("replica-%d", id)), listen: l.freePort(), state: newMachine(), moved: make(chan struct{})}
		l.must(os.MkdirAll(n.dir, 0o700))
		l.mu.Lock()
		l.nodes = append(l.nodes, n)
		l.mu.Unlock()
	}
	if l.links != nil {
		l.must(l.links.connect(l.nodes))
	}
}

// freePort reserves a port for as long as the lab lives: a replica that is down has it, too.
func (l *lab) freePort() string {
	reserved, err := ports.Reserve(1)
	l.must(err)
	l.ports = append(l.ports, reserved)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(reserved.Numbers[0]))
}

// advertised is where n's peers dial it.
func (l *lab) advertised(n *node) string {
	if l.links != nil {
		return l.links.address(n, n)
	}
	return n.listen
}

// groups are the groups that n opens; each of the same members. Who joins knows
// of none.
func (l *lab) groups(n *node, mode consensus.OpenMode) []consensus.GroupSpec {
	spec := consensus.GroupSpec{ID: consensus.Metadata, Name: "metadata", Mode: mode, Tuning: l.tuning}
	for _, m := range l.nodes {
		if !m.joined && !n.joined {
			spec.Members = append(spec.Members, l.member(n, m, consensus.Voter))
		}
	}
	specs := []consensus.GroupSpec{spec}
	for _, id := range l.extra {
		spec.ID, spec.Name = id, fmt.Sprintf("group-%d", id)
		specs = append(specs, spec)
	}
	return specs
}

// member is m as it is known to n.
func (l *lab) member(n, m *node, role consensus.MemberRole) consensus.Member {
	address := m.listen
	if l.links != nil {
		address = l.links.address(n, m)
	}
	return consensus.Member{ReplicaID: m.id, BrokerID: int32(m.id), Address: address, Role: role}
}

// startAll starts all replicas at once.
func (l *lab) startAll(mode consensus.OpenMode) {
	var starting sync.WaitGroup
	errs := make([]error, len(l.nodes))
	for i, n := range l.nodes {
		starting.Go(func() { errs[i] = n.tryStart(mode) })
	}
	starting.Wait()
	for i, err := range errs {
		if err != nil {
			l.giveUp("L2", "replica %d does not start: %v", i+1, err)
		}
	}
}

func (l *lab) stopAll() {
	var stopping sync.WaitGroup
	for _, n := range l.nodes {
		stopping.Go(n.shutDown)
	}
	stopping.Wait()
}

// killAll kills all replicas at the same time.
func (l *lab) killAll() {
	var dying sync.WaitGroup
	for _, n := range l.nodes {
		dying.Go(n.kill)
	}
	dying.Wait()
}

// scale is how often something is done: in the quick form, in the full one, and
// at level 4.
func (l *lab) scale(quick, full, long int) int {
	switch {
	case l.opts.Level >= 4:
		return long
	case l.opts.Quick:
		return quick
	default:
		return full
	}
}

// eventually waits for done, and ends the case if it waits in vain.
func (l *lab) eventually(rule, what string, done func() bool) {
	if !l.within(l.opts.Patience, done) {
		l.giveUp(rule, "in vain for %s: %s%s", l.opts.Patience, what, l.status())
	}
}

// within waits up to d for done.
func (l *lab) within(d time.Duration, done func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-deadline.C:
			return done()
		case <-l.ctx.Done():
			panic(abandoned{})
		}
	}
	return true
}

// slowest is how many times its patience the kit waits for what goes on slowly.
const slowest = 20

// whileProgress waits for done as long as value moves on at least once in the time of
// the kit's patience.
func (l *lab) whileProgress(value func() uint64, done func() bool) bool {
	last, moved := value(), time.Now()
	ended := false
	l.within(slowest*l.opts.Patience, func() bool {
		if ended = done(); ended {
			return true
		}
		if now := value(); now > last {
			last, moved = now, time.Now()
		}
		return time.Since(moved) >= l.opts.Patience
	})
	return ended
}

// pause lets time pass, for what is told by time only.
func (l *lab) pause(d time.Duration) { l.within(d, func() bool { return false }) }

// status is what every replica says of itself, for reports.
func (l *lab) status() string {
	var b bytes.Buffer
	for _, n := range l.nodes {
		if c := n.client(); c != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			s, err := c.Status(ctx, consensus.Metadata)
			cancel()
			fmt.Fprintf(&b, "; replica %d: applied %d, %s in term %d of %d, log %d to %d, commit %d, %v", n.id, n.applied(),
				s.Leadership.Role, s.Leadership.Term, s.Leadership.Leader, s.FirstIndex, s.LastIndex, s.CommitIndex, err)
		}
	}
	return b.String()
}

// ready returns the node that leads in the highest term, is ready, and has
// applied its ready index.
func (l *lab) ready() (*node, consensus.Leadership) {
	var leader *node
	var at consensus.Leadership
	for _, n := range l.everybody() {
		if s := n.leadership(); s.Role == consensus.LeaderReady && n.applied() >= s.ReadyIndex && (leader == nil || s.Term > at.Term) {
			leader, at = n, s
		}
	}
	return leader, at
}

// leader waits for a leader that is ready.
func (l *lab) leader() (leader *node, at consensus.Leadership) {
	l.eventually("T4", "a leader that is ready", func() bool {
		leader, at = l.ready()
		return leader != nil
	})
	return leader, at
}

// everybody is the nodes, for goroutines that are not the case's.
func (l *lab) everybody() []*node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes
}

func (l *lab) others(not ...*node) []*node {
	var others []*node
next:
	for _, n := range l.nodes {
		for _, x := range not {
			if n == x {
				continue next
			}
		}
		others = append(others, n)
	}
	return others
}

// command makes one that there has not been yet.
func (l *lab) command() string { return fmt.Sprintf("add %07d", l.serials.Add(1)) }

// figure notes a number for the performance card.
func (l *lab) figure(name string, value float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.figures[name] = value
}

func newReader(data []byte) io.Reader { return bytes.NewReader(data) }
