package consensustest

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/quorate/quorate/consensus"
)

// patience is how long the kit waits for what must happen at some time.
const patience = 30 * time.Second

// lab is the cluster that a case works with.
type lab struct {
	t       T
	cfg     Config
	checks  *checks
	nodes   []*node
	tuning  consensus.GroupTuning
	serials int               // payloads made
	next    map[uint64]uint64 // term to the next sequence
}

func newLab(t T, cfg Config, nodes int) *lab {
	l := &lab{t: t, cfg: cfg, checks: newChecks(t), next: map[uint64]uint64{}, tuning: consensus.GroupTuning{RetainEntries: 4}}
	root := t.TempDir()
	for i := range nodes {
		n := &node{l: l, id: uint64(i + 1), dir: filepath.Join(root, fmt.Sprintf("replica-%d", i+1))}
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			t.Fatalf("%v", err)
		}
		l.nodes = append(l.nodes, n)
	}
	return l
}

// startAll binds all nodes first, so that each knows where the others are.
func (l *lab) startAll(mode consensus.OpenMode) {
	l.t.Helper()
	for _, n := range l.nodes {
		n.bind()
	}
	for _, n := range l.nodes {
		n.open(mode)
	}
}

func (l *lab) stopAll() {
	for _, n := range l.nodes {
		n.shutDown()
	}
}

func (l *lab) spec(mode consensus.OpenMode) consensus.GroupSpec {
	spec := consensus.GroupSpec{ID: consensus.Metadata, Name: "metadata", Mode: mode, Tuning: l.tuning}
	for _, n := range l.nodes {
		spec.Members = append(spec.Members, consensus.Member{ReplicaID: n.id, BrokerID: int32(n.id), Address: n.listen, Role: consensus.Voter})
	}
	return spec
}

// eventually waits for done. It gives up only long after anything healthy is.
func (l *lab) eventually(rule, what string, done func() bool) {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		if time.Now().After(deadline) {
			l.checks.breaks(rule, "in vain: %s", what)
			for _, n := range l.nodes {
				if n.up() {
					l.t.Logf("replica %d: applied %d, %+v", n.id, n.applied(), n.group.Status())
				}
			}
			l.t.Fatalf("giving up after %s", patience)
		}
		<-poll.C
	}
}

// leader waits until a node leads, is ready, and has applied its ready index.
func (l *lab) leader() (*node, consensus.Leadership) {
	l.t.Helper()
	var leader *node
	var at consensus.Leadership
	l.eventually("T4", "a leader that is ready", func() bool {
		leader = nil
		for _, n := range l.nodes {
			if s := n.leadership(); s.Role == consensus.LeaderReady && n.applied() >= s.ReadyIndex && (leader == nil || s.Term > at.Term) {
				leader, at = n, s
			}
		}
		return leader != nil
	})
	return leader, at
}

func (l *lab) followers(leader *node) []*node {
	var others []*node
	for _, n := range l.nodes {
		if n != leader {
			others = append(others, n)
		}
	}
	return others
}

// propose sends a payload through n and returns where its one result will come.
func (l *lab) propose(n *node, term uint64, payload string) <-chan consensus.Result {
	l.t.Helper()
	l.next[term]++
	env := consensus.Envelope{ExpectedTerm: term, Sequence: l.next[term], Payload: []byte(payload)}
	results := make(chan consensus.Result, 2)
	n.group.Propose(term, env.Append(nil), func(r consensus.Result) {
		l.checks.result(payload, r)
		select {
		case results <- r:
		default:
			l.checks.breaks("P3", "a third result for one proposal")
		}
	})
	return results
}

// await waits for the result of a proposal.
func (l *lab) await(results <-chan consensus.Result) consensus.Result {
	l.t.Helper()
	select {
	case r := <-results:
		return r
	case <-time.After(patience):
		l.checks.breaks("P3", "a proposal has no result after %s", patience)
		l.t.Fatalf("giving up")
		return consensus.Result{}
	}
}

func (l *lab) payload() string {
	l.serials++
	return fmt.Sprintf("payload-%06d", l.serials)
}

// commit has count proposals committed, up to inflight at a time. The leader may
// change meanwhile; one that does not change must commit everything.
func (l *lab) commit(count, inflight int) {
	l.t.Helper()
	want := l.checks.acknowledged() + count
	deadline := time.Now().Add(patience)
	for l.checks.acknowledged() < want {
		if time.Now().After(deadline) {
			l.t.Fatalf("no progress within %s", patience)
		}
		n, at := l.leader()
		l.pipeline(n, at, want-l.checks.acknowledged(), inflight)
	}
}

// pipeline proposes count times through the leader n, or until one fails.
func (l *lab) pipeline(n *node, at consensus.Leadership, count, inflight int) {
	l.t.Helper()
	var window []<-chan consensus.Result
	going := true
	for i := 0; going && i < count; i++ {
		window = append(window, l.propose(n, at.Term, l.payload()))
		if len(window) == inflight {
			going = l.committed(n, at, window[0])
			window = window[1:]
		}
	}
	for _, w := range window {
		going = l.committed(n, at, w) && going
	}
	if !going {
		l.eventually("T6", "the leadership that failed a proposal ends", func() bool { return n.leadership() != at })
	}
}

// committed tells whether a proposal was. If not, n must have lost the lead.
func (l *lab) committed(n *node, at consensus.Leadership, results <-chan consensus.Result) bool {
	l.t.Helper()
	r := l.await(results)
	if r.Outcome != consensus.Committed {
		l.t.Logf("a proposal in term %d of replica %d: %s: %v", at.Term, n.id, r.Outcome, r.Err)
	}
	return r.Outcome == consensus.Committed
}

// mustCommit is for clusters of one, where nobody can take the lead away.
func (l *lab) mustCommit(results <-chan consensus.Result) {
	l.t.Helper()
	if r := l.await(results); r.Outcome != consensus.Committed {
		l.checks.breaks("P3", "a leader that is ready, and stays so, answers %s: %v", r.Outcome, r.Err)
		l.t.Fatalf("giving up")
	}
}

// insist has count proposals committed whatever happens to leaders meanwhile,
// one at a time, never the same payload twice.
func (l *lab) insist(count int) {
	l.t.Helper()
	want := l.checks.acknowledged() + count
	deadline := time.Now().Add(patience)
	for l.checks.acknowledged() < want {
		if time.Now().After(deadline) {
			l.t.Fatalf("no progress within %s", patience)
		}
		n, at := l.leader()
		l.await(l.propose(n, at.Term, l.payload()))
	}
}

// converge waits until every node that is up has applied everything that was
// COMMITTED, and all of them the same.
func (l *lab) converge() {
	l.t.Helper()
	for _, n := range l.nodes {
		if !n.up() {
			continue
		}
		var missing string
		l.eventually("D1", fmt.Sprintf("everything committed is delivered on replica %d", n.id), func() bool {
			missing = l.missing(n)
			return missing == ""
		})
	}
}

// missing returns a payload that was COMMITTED and that n has not applied.
func (l *lab) missing(n *node) string {
	l.checks.mu.Lock()
	defer l.checks.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range l.checks.committed {
		if _, ok := n.state.Applied[p]; !ok {
			return p
		}
	}
	return ""
}
