package etcdraft

import (
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/quorate/quorate/consensus"
)

// run is the group's loop: it turns when something is in the inbox and at every
// tick. Whatever goes wrong in raft itself ends the process with the group's
// name.
func (g *group) run() {
	defer g.abandonAll()
	defer func() {
		if p := recover(); p != nil {
			err := fmt.Errorf("group %d: %v", g.id, p)
			if _, expected := p.(raftPanic); !expected {
				err = fmt.Errorf("%w\n%s", err, debug.Stack())
			}
			g.cancel()
			g.backend.fatal.fatal(consensus.ExitBug, err)
		}
	}()
	g.campaignAlone()
	ticker := time.NewTicker(g.timing.tick)
	defer ticker.Stop()
	g.nextTick = time.Now().Add(g.timing.tick)
	g.knockAt = time.Now().Add(2 * g.timing.election)
	for {
		g.turn(time.Now())
		select {
		case <-g.inbox.wake:
		case <-ticker.C:
		case <-g.ctx.Done():
			return
		}
	}
}

// campaignAlone spares the only voter of a group the wait for an election timeout.
func (g *group) campaignAlone() {
	if c := g.currentConfig(); len(c.Voters) != 1 || c.Voters[0] != g.self || c.joint() {
		return
	}
	if err := g.node.Campaign(); err != nil {
		g.log.Warn("campaign", "error", err)
	}
}

// turn handles what has come, then lets time pass: a loop that stood still must
// see its leader's messages before it misses them.
func (g *group) turn(now time.Time) {
	g.lastTurn.Store(now.UnixNano())
	items := g.inbox.take()
	for _, w := range items.written {
		g.stepWritten(w)
	}
	for _, m := range items.messages {
		g.stepMessage(m.m, now)
		m.done()
	}
	for peer := range items.unreachable {
		g.node.ReportUnreachable(peer)
	}
	for _, call := range items.calls {
		call()
	}
	g.step(items.proposals)
	g.reads.waiting = append(g.reads.waiting, items.reads...)
	g.tick(now)
	g.stand(now)
	g.leaveJoint(now)
	g.knock(now)
	g.drain()
	g.stepReads(now)
	g.drain()
	for _, s := range items.snapshots {
		g.stepSnapshot(s)
	}
	g.publish()
	if !now.Before(g.nextStatus) {
		g.publishPeers()
		g.nextStatus = now.Add(g.timing.heartbeat)
	}
	g.lastTurn.Store(time.Now().UnixNano())
}

// tick tells raft how much time has passed. After a pause it catches up by at
// most a heartbeat interval: the others' messages may still be on their way.
func (g *group) tick(now time.Time) {
	if g.keepQuiet() {
		g.nextTick = now.Add(g.timing.tick)
		return
	}
	for n := 0; !now.Before(g.nextTick); n++ {
		if n == g.timing.heartbeatTicks {
			g.nextTick = now.Add(g.timing.tick)
			return
		}
		g.node.Tick()
		g.nextTick = g.nextTick.Add(g.timing.tick)
	}
}

// drain handles Readys until raft has nothing more to say.
func (g *group) drain() {
	for g.node.HasReady() {
		g.handle(g.node.Ready())
	}
}

// handle hands out a Ready: messages to peers may leave at once, those that
// depend on a write are attached to it (AsyncStorageWrites), and so nothing here
// waits.
func (g *group) handle(rd raft.Ready) {
	g.trackLog(rd)
	g.pending.locate(rd.Entries)
	g.change.locate(rd.Entries)
	var applied []*raftpb.Message
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			g.submit(m)
		case raft.LocalApplyThread:
			g.apply(m.GetEntries())
			applied = append(applied, m.GetResponses()...)
		default:
			g.dispatch(m)
		}
	}
	g.reads.finish(rd.ReadStates)
	for _, m := range applied {
		g.mustStep(m)
	}
}

// trackLog follows the end of raft's log, to tell messages that cannot be.
func (g *group) trackLog(rd raft.Ready) {
	if n := len(rd.Entries); n > 0 {
		g.lastIndex = rd.Entries[n-1].GetIndex()
	} else if !raft.IsEmptySnap(rd.Snapshot) {
		g.lastIndex = rd.Snapshot.GetMetadata().GetIndex()
	}
}

// submit gives a MsgStorageAppend to the writer.
func (g *group) submit(m *raftpb.Message) {
	t := appendTask{g: g, m: m}
	if state := hardState(m); state != nil {
		t.newTerm = state.Term != g.handedOver.Term || state.Vote != g.handedOver.Vote
		g.handedOver = *state
	}
	if want := m.GetSnapshot().GetMetadata(); want.GetIndex() != 0 {
		if term, index := g.arrived(); index != want.GetIndex() || term != want.GetTerm() {
			panic(fmt.Sprintf("raft installs snapshot %d/%d, received was %d/%d", want.GetTerm(), want.GetIndex(), term, index))
		}
		t.snapshot, g.arriving = g.arriving, nil
	}
	g.backend.writer.submit(t)
}

func (g *group) arrived() (term, index uint64) {
	if g.arriving == nil || g.arriving.file == nil {
		return 0, 0
	}
	return g.arriving.position()
}

// dispatch sends a message to another replica.
func (g *group) dispatch(m *raftpb.Message) {
	if m.GetType() == raftpb.MsgSnap {
		g.sendSnapshot(g.backend.transport.peer(m.GetTo()), m)
		return
	}
	if m.GetType() == raftpb.MsgHeartbeat && len(m.GetContext()) == 8 {
		if m.GetTerm() != g.readTerm {
			g.readTerm, g.readCtx = m.GetTerm(), 0
		}
		g.readCtx = max(g.readCtx, binary.LittleEndian.Uint64(m.GetContext()))
	}
	g.send(m)
}

// abandonAll answers everybody who waits, when the loop ends.
func (g *group) abandonAll() {
	g.cancel()
	g.pending.abandon(consensus.ErrShuttingDown)
	g.reads.abandon(consensus.ErrShuttingDown)
	g.abandonChange(consensus.ErrShuttingDown)
	g.failInbox()
	last, _ := g.leadership.Get()
	g.leadership.Set(consensus.Leadership{Term: last.Term, Role: consensus.Follower})
	g.leadership.Wake()
	g.delivered.Wake()
	g.wanted.Wake()
}

// failInbox refuses what came too late for the loop.
func (g *group) failInbox() {
	items := g.inbox.take()
	for _, p := range items.proposals {
		p.done(rejected(consensus.ErrShuttingDown))
	}
	for _, r := range items.reads {
		r.done <- readResult{err: consensus.ErrShuttingDown}
	}
	for _, m := range items.messages {
		m.done()
	}
	for _, s := range items.snapshots {
		if s.file != nil {
			_ = s.file.remove() // or the next start does
		}
	}
}
