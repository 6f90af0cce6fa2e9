package consensustest

import (
	"bytes"
	"errors"
	"io"
	"testing/iotest"

	"github.com/quorate/quorate/consensus"
)

var snapshotCases = []Case{
	{Name: "S4 snapshots appear whole or not at all", Nodes: 1, Rules: []string{"S4"}, run: wholeSnapshots},
	{Name: "S5 compaction", Nodes: 1, Rules: []string{"S5", "D5", "D3"}, run: compaction},
	{Name: "S6 a snapshot is asked for", Nodes: 1, Rules: []string{"S6"}, run: snapshotWanted},
	{Name: "D5 a follower gets the snapshot", Nodes: 3, Rules: []string{"D5", "S5", "S6", "D3"}, run: laggard},
	{Name: "S4 snapshots in the middle of a load", Nodes: 3, Rules: []string{"S4", "S5", "D3"}, run: snapshotsUnderLoad},
}

// save has n's backend save n's state as it is now.
func (l *lab) save(n *node) consensus.SnapshotMeta {
	l.t.Helper()
	state := n.snapshotState()
	data, err := state.bytes()
	if err != nil {
		l.t.Fatalf("%v", err)
	}
	if err := n.group.SaveSnapshot(l.t.Context(), state.meta(), bytes.NewReader(data)); err != nil {
		l.checks.breaks("S4", "replica %d: save a snapshot at %d: %v", n.id, state.Index, err)
		l.t.Fatalf("giving up")
	}
	return state.meta()
}

func wholeSnapshots(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(10, 4)
	l.converge()
	n := l.nodes[0]
	if _, _, err := n.group.Snapshot(l.t.Context()); !errors.Is(err, consensus.ErrNoSnapshot) {
		l.checks.breaks("S4", "before the first snapshot: %v", err)
	}
	meta := n.snapshotState().meta()
	broken := io.MultiReader(bytes.NewReader(make([]byte, 100_000)), iotest.ErrReader(errors.New("the host is gone")))
	if err := n.group.SaveSnapshot(l.t.Context(), meta, broken); err == nil {
		l.checks.breaks("S4", "a snapshot that broke off was stored")
	}
	if _, _, err := n.group.Snapshot(l.t.Context()); !errors.Is(err, consensus.ErrNoSnapshot) {
		l.checks.breaks("S4", "after a snapshot that broke off: %v", err)
	}
	beyond := consensus.SnapshotMeta{Index: n.applied() + 1000, Term: meta.Term, Format: meta.Format}
	if err := n.group.SaveSnapshot(l.t.Context(), beyond, bytes.NewReader(nil)); err == nil {
		l.checks.breaks("S4", "a snapshot of what is not committed was stored")
	}
	meta = l.save(n)
	l.wantSnapshot(n, meta)
	if err := n.group.SaveSnapshot(l.t.Context(), meta, bytes.NewReader(nil)); !errors.Is(err, consensus.ErrSnapshotStale) {
		l.checks.breaks("S4", "the same index again: %v", err)
	}
	meta.Index--
	if err := n.group.SaveSnapshot(l.t.Context(), meta, bytes.NewReader(nil)); !errors.Is(err, consensus.ErrSnapshotStale) {
		l.checks.breaks("S4", "an older index: %v", err)
	}
	meta.Index++
	n.kill()
	l.startAll(consensus.OpenRecover)
	l.wantSnapshot(l.nodes[0], meta)
}

// wantSnapshot checks that meta is the newest snapshot and what it should be.
func (l *lab) wantSnapshot(n *node, want consensus.SnapshotMeta) {
	l.t.Helper()
	meta, r, err := n.group.Snapshot(l.t.Context())
	if err != nil {
		l.checks.breaks("S4", "replica %d: read the snapshot back: %v", n.id, err)
		return
	}
	m, err := readMachine(meta, r)
	if err != nil || m.Index != want.Index || m.Term != want.Term {
		l.checks.breaks("S4", "replica %d: saved %+v, read back %+v: %v", n.id, want, meta, err)
		return
	}
	if chain, ok := l.checks.chain(m.Index); ok && chain != m.Chain {
		l.checks.breaks("S4", "replica %d: the snapshot's content has changed", n.id)
	}
}

func compaction(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	n := l.nodes[0]
	for round := range 3 {
		l.commit(100, 16)
		l.converge()
		meta := l.save(n)
		l.eventually("S5", "the log below the snapshot is dropped", func() bool {
			_, _, _, err := n.group.Read(1, 1)
			return errors.Is(err, consensus.ErrCompacted)
		})
		if entries, _, next, err := n.group.Read(meta.Index+1, 1<<20); err != nil || len(entries) == 0 && next == nil {
			l.checks.breaks("S5", "reading on after the snapshot at %d: %v", meta.Index, err)
		}
		l.commit(10, 4)
		if round == 1 {
			n.kill()
			l.startAll(consensus.OpenRecover)
			l.leader()
		}
		l.converge()
	}
}

func snapshotWanted(l *lab) {
	l.tuning.SnapshotRequestEntries = 50
	l.startAll(consensus.OpenBootstrap)
	n := l.nodes[0]
	l.commit(10, 4)
	if wanted, _ := n.group.SnapshotWanted(); wanted != 0 {
		l.checks.breaks("S6", "a snapshot at %d is wanted after 10 of 50 entries", wanted)
	}
	l.commit(60, 16)
	l.converge()
	l.eventually("S6", "a snapshot is wanted after 70 of 50 entries", func() bool {
		wanted, _ := n.group.SnapshotWanted()
		return wanted != 0 && wanted <= n.group.Status().CommitIndex
	})
	l.save(n)
	l.eventually("S6", "the wish is gone once it is fulfilled", func() bool {
		wanted, _ := n.group.SnapshotWanted()
		return wanted == 0
	})
}

func laggard(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(50, 16)
	l.converge()
	leader, _ := l.leader()
	down := l.followers(leader)[0]
	down.kill()
	l.commit(200, 16)
	l.converge()
	for _, n := range l.nodes {
		if n.up() {
			l.save(n)
		}
	}
	l.commit(50, 16)
	down.start(consensus.OpenRecover)
	l.converge()
	if meta, r, err := down.group.Snapshot(l.t.Context()); err != nil {
		l.checks.breaks("D5", "replica %d was down past the compaction, and has no snapshot: %v", down.id, err)
	} else if err := r.Close(); err != nil || meta.Index == 0 {
		l.checks.breaks("D5", "replica %d: snapshot %+v: %v", down.id, meta, err)
	}
	l.commit(50, 16)
	l.converge()
	down.kill() // what it was given must outlive it
	down.start(consensus.OpenRecover)
	l.commit(10, 4)
	l.converge()
}

// snapshotsUnderLoad saves states that are older than what the log holds by
// then: a backend that labels them with its own position loses entries.
func snapshotsUnderLoad(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(50, 16)
	leader, _ := l.leader()
	down := l.followers(leader)[0]
	down.kill()
	state := leader.snapshotState()
	l.commit(100, 16)
	data, err := state.bytes()
	if err != nil {
		l.t.Fatalf("%v", err)
	}
	if err := leader.group.SaveSnapshot(l.t.Context(), state.meta(), bytes.NewReader(data)); err != nil {
		l.checks.breaks("S4", "a snapshot at %d while the log is at %d: %v", state.Index, leader.applied(), err)
	}
	l.wantSnapshot(leader, state.meta())
	l.commit(20, 4)
	down.start(consensus.OpenRecover)
	l.converge()
	for _, n := range l.nodes {
		n.kill()
	}
	l.startAll(consensus.OpenRecover)
	l.insist(5)
	l.converge()
}
