package consensustest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/quorate/quorate/consensus"
)

var singleCases = []Case{
	{Name: "L1 describe and validate have no effects", Nodes: 1, Rules: []string{"L1"}, run: describe},
	{Name: "P3 proposals 1, 16 and 256 in flight", Nodes: 1, Rules: []string{"P3", "P4", "D1", "D2", "T4"}, run: inFlight},
	{Name: "P1 another term is rejected", Nodes: 1, Rules: []string{"P1", "P3"}, run: wrongTerm},
	{Name: "P7 sizes", Nodes: 1, Rules: []string{"P7", "D3"}, run: sizes},
	{Name: "D4 positions", Nodes: 1, Rules: []string{"D4", "D2"}, run: positions},
	{Name: "T3 restarts", Nodes: 1, Rules: []string{"T1", "T3", "D3", "S1"}, run: restarts},
	{Name: "S1 what was acknowledged is on disk", Nodes: 1, Rules: []string{"S1", "S3"}, run: powerCut},
	{Name: "L2 open modes", Nodes: 1, Rules: []string{"L2"}, run: openModes},
}

func describe(l *lab) {
	b := l.cfg.New()
	d := b.Describe()
	if d.Backend == "" || d.Limits.MaxGroups < 1 || d.Limits.MaxMembers < 1 || d.Limits.MaxInflightProposals < 256 {
		l.checks.breaks("L1", "an incomplete description: %+v", d)
	}
	if d.Limits.MaxProposalBytes < 1<<20 {
		l.checks.breaks("P7", "proposals of 1 MiB must be taken, the limit is %d", d.Limits.MaxProposalBytes)
	}
	if !json.Valid(d.ConfigSchema) {
		l.checks.breaks("L1", "the schema of the options is not JSON: %s", d.ConfigSchema)
	}
	for _, options := range []string{"", "{}"} {
		for _, p := range b.Validate(json.RawMessage(options)) {
			if !p.Warning {
				l.checks.breaks("L1", "the defaults are not valid: options %q: %s %s", options, p.Path, p.Message)
			}
		}
	}
	problems := b.Validate(json.RawMessage(`{"no_such_option": 1, "nor_this": true}`))
	for _, key := range []string{"no_such_option", "nor_this"} {
		found := false
		for _, p := range problems {
			found = found || strings.Contains(p.Path+p.Message, key)
		}
		if !found {
			l.checks.breaks("L1", "option %q is not called unknown: %+v", key, problems)
		}
	}
	if len(b.Validate(json.RawMessage(`[`))) == 0 {
		l.checks.breaks("L1", "options that are not JSON are called valid")
	}
}

func inFlight(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(100, 1)
	l.commit(300, 16)
	l.commit(600, 256)
	l.converge()
}

func wrongTerm(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	n, at := l.leader()
	for _, term := range []uint64{0, at.Term - 1, at.Term + 1} {
		if r := l.await(l.propose(n, term, l.payload())); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrTermMismatch) {
			l.checks.breaks("P1", "in term %d, a proposal of term %d: %s, %v", at.Term, term, r.Outcome, r.Err)
		}
	}
	l.commit(1, 1)
	l.converge()
}

func sizes(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	n, at := l.leader()
	for _, size := range []int{0, 1, 4096, 256 << 10, 1<<20 - 64} {
		l.mustCommit(l.propose(n, at.Term, strings.Repeat("x", size)))
	}
	limit := n.backend.Describe().Limits.MaxProposalBytes
	if r := l.await(l.propose(n, at.Term, strings.Repeat("y", int(limit)+1))); r.Outcome != consensus.Rejected || !errors.Is(r.Err, consensus.ErrTooLarge) {
		l.checks.breaks("P7", "a proposal above the limit of %d bytes: %s, %v", limit, r.Outcome, r.Err)
	}
	l.next[at.Term]-- // it was refused, so the sequence goes on from there
	l.commit(2, 1)
	l.converge()
}

func positions(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(50, 16)
	l.converge()
	n := l.nodes[0]
	last := n.group.Status().LastIndex
	for _, from := range []uint64{1, last / 2, last} {
		entries, commit, _, err := n.group.Read(from, 1)
		if err != nil || len(entries) != 1 || entries[0].Index != from || commit != last {
			l.checks.breaks("D2", "one byte from %d of %d: %d entries, commit %d, %v", from, last, len(entries), commit, err)
		}
	}
	entries, _, next, err := n.group.Read(last+1, 1<<20)
	if err != nil || len(entries) != 0 || next == nil {
		l.checks.breaks("D4", "at the end: %d entries, %v", len(entries), err)
		return
	}
	if _, _, _, err := n.group.Read(last+2, 1<<20); !errors.Is(err, consensus.ErrAheadOfLog) {
		l.checks.breaks("D4", "beyond the end: %v", err)
	}
	l.commit(1, 1)
	l.eventually("D1", "the channel of a read at the end is closed", func() bool {
		select {
		case <-next:
			return true
		default:
			return false
		}
	})
}

func restarts(l *lab) {
	mode := consensus.OpenBootstrap
	for i := range 4 {
		l.startAll(mode)
		mode = consensus.OpenRecover
		l.commit(20, 4)
		l.converge()
		if n := l.nodes[0]; i%2 == 0 {
			n.kill()
		} else {
			n.shutDown()
		}
	}
	l.startAll(consensus.OpenBootstrap) // with data there, it recovers too
	l.leader()
	l.converge()
}

// powerCut copies the directory of a running node, and starts from the copy.
func powerCut(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(100, 16)
	n, at := l.leader()
	var window []<-chan consensus.Result
	for range 64 { // so that the copy is made in the middle of writing
		window = append(window, l.propose(n, at.Term, l.payload()))
	}
	acknowledged := l.acknowledgedNow()
	cut := filepath.Join(l.t.TempDir(), "cut")
	if err := os.CopyFS(cut, os.DirFS(n.dir)); err != nil {
		l.t.Fatalf("copy the data directory: %v", err)
	}
	for _, w := range window {
		l.mustCommit(w)
	}
	n.kill()

	survivor := newLab(l.t, l.cfg, 1)
	survivor.nodes[0].dir = cut
	defer survivor.stopAll()
	survivor.startAll(consensus.OpenRecover)
	survivor.leader()
	state := survivor.nodes[0].snapshotState()
	for p, index := range acknowledged {
		if state.Applied[p] != index {
			l.checks.breaks("S1", "%s was committed at %d, and after the power cut it is not there", p, index)
		}
	}
	survivor.serials = 1 << 20
	survivor.commit(5, 1)
}

func (l *lab) acknowledgedNow() map[string]uint64 {
	l.checks.mu.Lock()
	defer l.checks.mu.Unlock()
	out := make(map[string]uint64, len(l.checks.committed))
	maps.Copy(out, l.checks.committed)
	return out
}

func openModes(l *lab) {
	n := l.nodes[0]
	n.bind()
	if g, err := n.backend.OpenGroup(l.t.Context(), l.spec(consensus.OpenRecover)); err == nil {
		l.checks.breaks("L2", "nothing was there to recover, and it was")
		_ = g.Close() // the case is lost
		return
	}
	n.open(consensus.OpenBootstrap)
	if _, err := n.backend.OpenGroup(l.t.Context(), l.spec(consensus.OpenRecover)); !errors.Is(err, consensus.ErrGroupExists) {
		l.checks.breaks("L2", "opened twice: %v", err)
	}
	l.commit(3, 1)
	if _, _, err := n.group.ReadIndex(context.Background()); err != nil {
		l.checks.breaks("R1", "read index: %v", err)
	}
}
