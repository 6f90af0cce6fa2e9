package kit

import (
	"bytes"
	"errors"
	"io"
	"testing/iotest"
	"time"

	"github.com/quorate/quorate/consensus"
)

var snapshotCases = []Case{
	{Number: 18, Name: "snapshots appear whole or not at all", Level: 1, Nodes: 1, Rules: []string{"S4"}, run: wholeSnapshots},
	{Number: 18, Name: "compaction", Level: 1, Nodes: 1, Rules: []string{"S5", "D5", "D3"}, run: compaction},
	{Number: 18, Name: "a snapshot is asked for", Level: 1, Nodes: 1, Rules: []string{"S6"}, run: snapshotWanted},
	{Number: 12, Name: "killed while it saves snapshots", Level: 1, Nodes: 1, Rules: []string{"S4", "S5", "D3", "S1"}, run: killedWhileSaving},
	{Number: 18, Name: "a follower gets the snapshot", Level: 2, Nodes: 3, Rules: []string{"D5", "S5", "D3"}, run: laggard},
	{Number: 18, Name: "snapshots older than the log", Level: 2, Nodes: 3, Rules: []string{"S4", "S5", "D3"}, run: olderSnapshots},
	{Number: 12, Name: "killed while it installs a snapshot", Level: 3, Nodes: 3, Rules: []string{"S4", "S5", "D5", "D3"}, run: killedWhileInstalling},
}

// mustSave has n save its state.
func (l *lab) mustSave(n *node, size int) consensus.SnapshotMeta {
	meta, err := n.save(size)
	if err != nil {
		l.giveUp("S4", "replica %d: save a snapshot at %d: %v", n.id, meta.Index, err)
	}
	return meta
}

// noSnapshot wants that none is visible.
func (l *lab) noSnapshot(n *node, when string) {
	if _, r, err := n.client().Snapshot(l.ctx, consensus.Metadata); !errors.Is(err, consensus.ErrNoSnapshot) {
		if err == nil {
			_ = r.Close() // it should not be there at all
		}
		l.checks.breaks("S4", "%s: %v", when, err)
	}
}

func wholeSnapshots(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(10, 4)
	l.converge()
	n := l.nodes[0]
	l.noSnapshot(n, "before the first snapshot")
	meta := n.copyState().meta()
	broken := io.MultiReader(bytes.NewReader(make([]byte, 3<<20)), iotest.ErrReader(errors.New("the host is gone")))
	if err := n.saveFrom(meta, broken); err == nil {
		l.checks.breaks("S4", "a snapshot that broke off was stored")
	}
	l.noSnapshot(n, "after a snapshot that broke off")
	beyond := consensus.SnapshotMeta{Index: n.applied() + 1000, Term: meta.Term, Format: meta.Format}
	if err := n.saveBytes(beyond, []byte("{}")); err == nil {
		l.checks.breaks("S4", "a snapshot of what is not committed was stored")
	}
	meta = l.mustSave(n, l.scale(1<<20, 32<<20, 100<<20))
	l.wantSnapshot(n, meta)
	for _, index := range []uint64{meta.Index, meta.Index - 1} {
		stale := consensus.SnapshotMeta{Index: index, Term: meta.Term, Format: meta.Format}
		if err := n.saveBytes(stale, []byte("{}")); !errors.Is(err, consensus.ErrSnapshotStale) {
			l.checks.breaks("S4", "the newest snapshot is at %d, and another one at %d gives %v", meta.Index, index, err)
		}
	}
	n.kill()
	l.startAll(consensus.OpenRecover)
	l.wantSnapshot(n, meta)
}

// wantSnapshot checks that want is the newest snapshot, and what it should be.
func (l *lab) wantSnapshot(n *node, want consensus.SnapshotMeta) {
	meta, r, err := n.client().Snapshot(l.ctx, consensus.Metadata)
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
	for round := range l.scale(3, 6, 20) {
		l.commit(100, 16)
		l.converge()
		old := n.copyState()
		meta := old.meta()
		l.commit(10, 4)
		data, err := old.bytes(0)
		l.must(err)
		if err := n.saveBytes(meta, data); err != nil {
			l.giveUp("S4", "save a snapshot at %d: %v", meta.Index, err)
		}
		l.eventually("S5", "the log below the snapshot is dropped", func() bool {
			_, err := l.read(n.client(), consensus.Metadata, 1, 1, l.opts.Patience)
			return errors.Is(err, consensus.ErrCompacted)
		})
		if entries, err := l.read(n.client(), consensus.Metadata, meta.Index+1, 10, l.opts.Patience); err != nil {
			l.checks.breaks("S5", "reading on after the snapshot at %d: %d entries, %v", meta.Index, len(entries), err)
		}
		if round%2 == 1 {
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
	wanted := func() uint64 {
		index, _ := n.client().SnapshotWanted(consensus.Metadata)
		return index
	}
	l.commit(10, 4)
	if w := wanted(); w != 0 {
		l.checks.breaks("S6", "a snapshot at %d is wanted after 10 of 50 entries", w)
	}
	l.commit(60, 16)
	l.converge()
	l.eventually("S6", "a snapshot is wanted after 70 of 50 entries", func() bool { return wanted() != 0 })
	if w := wanted(); w > n.applied() {
		l.checks.breaks("S6", "a snapshot at %d is wanted, %d are committed", w, n.applied())
	}
	l.mustSave(n, 0)
	l.eventually("S6", "the wish is gone once it is fulfilled", func() bool { return wanted() == 0 })
}

// killedWhileSaving kills a replica at random moments of a save. It comes back
// with the snapshot or without it, and with the log in any case.
func killedWhileSaving(l *lab) {
	n := l.nodes[0]
	n.start(consensus.OpenBootstrap)
	for range l.scale(6, 20, 100) {
		l.commit(20, 8)
		l.converge()
		saved := make(chan struct{})
		l.background.Go(func() {
			defer close(saved)
			_, _ = n.save(2 << 20) // it may be cut off
		})
		l.pause(time.Duration(l.random.IntN(30)) * time.Millisecond)
		n.kill()
		<-saved
		n.start(consensus.OpenRecover)
		l.leader()
		l.converge()
	}
}

// fallBehind takes a follower down until the log behind it is compacted away.
func (l *lab) fallBehind(size int) *node {
	l.commit(50, 16)
	l.converge()
	leader, _ := l.leader()
	down := l.others(leader)[l.random.IntN(len(l.nodes)-1)]
	down.kill()
	l.commit(200, 16)
	l.converge()
	for _, n := range l.nodes {
		if n.up() {
			l.mustSave(n, size)
		}
	}
	l.commit(50, 16)
	return down
}

func laggard(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	for range l.scale(1, 3, 10) {
		down := l.fallBehind(l.scale(100_000, 4<<20, 16<<20))
		down.start(consensus.OpenRecover)
		l.converge()
		if meta, r, err := down.client().Snapshot(l.ctx, consensus.Metadata); err != nil {
			l.checks.breaks("D5", "replica %d was down past the compaction, and has no snapshot: %v", down.id, err)
		} else if _, err := readMachine(meta, r); err != nil {
			l.checks.breaks("D5", "replica %d: snapshot %+v: %v", down.id, meta, err)
		}
		l.commit(50, 16)
		l.converge()
		down.kill() // what it was given must outlive it
		down.start(consensus.OpenRecover)
		l.commit(10, 4)
		l.converge()
	}
}

// olderSnapshots saves states that are older than what the log holds by then: a
// backend that labels them with its own position loses entries.
func olderSnapshots(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(50, 16)
	leader, _ := l.leader()
	down := l.others(leader)[0]
	down.kill()
	l.converge()
	old := leader.copyState()
	l.commit(100, 16)
	data, err := old.bytes(0)
	l.must(err)
	if err := leader.saveBytes(old.meta(), data); err != nil {
		l.checks.breaks("S4", "a snapshot at %d while the log is at %d: %v", old.Index, leader.applied(), err)
	}
	l.wantSnapshot(leader, old.meta())
	l.commit(20, 4)
	down.start(consensus.OpenRecover)
	l.converge()
	l.killAll()
	l.startAll(consensus.OpenRecover)
	l.commit(5, 1)
	l.converge()
}

// killedWhileInstalling kills a replica that is being given a snapshot.
func killedWhileInstalling(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	for range l.scale(1, 3, 20) {
		down := l.fallBehind(l.scale(4<<20, 16<<20, 64<<20))
		for range 3 {
			down.start(consensus.OpenRecover)
			l.pause(time.Duration(l.random.IntN(100)) * time.Millisecond)
			down.kill()
		}
		down.start(consensus.OpenRecover)
		l.commit(10, 4)
		l.converge()
	}
}
