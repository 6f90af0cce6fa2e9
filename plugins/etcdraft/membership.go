package etcdraft

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/quorate/quorate/consensus"
)

var _ consensus.MembershipChanger = (*group)(nil)

// memberChange is the change that this leader has appended and not yet seen
// through. Only the loop uses it.
type memberChange struct {
	term, index uint64
	applied     bool                    // but perhaps still joint
	done        chan memberChangeResult // 1-deep
}

type memberChangeResult struct {
	membership consensus.Membership
	err        error
}

// ChangeMembers implements consensus.MembershipChanger. A context that ends, or
// a leadership that is lost, leaves open whether the change is made: Members
// tells.
func (g *group) ChangeMembers(ctx context.Context, expect uint64, changes []consensus.Change) (consensus.Membership, error) {
	done := make(chan memberChangeResult, 1)
	g.inbox.call(func() {
		if err := g.beginChange(expect, changes, done); err != nil {
			done <- memberChangeResult{err: err}
		}
	})
	select {
	case r := <-done:
		return r.membership, r.err
	case <-ctx.Done():
		return consensus.Membership{}, fmt.Errorf("%w: %w", consensus.ErrTimeout, ctx.Err())
	case <-g.ctx.Done():
		return consensus.Membership{}, consensus.ErrShuttingDown
	}
}

// beginChange appends a configuration entry, unless another change is under way:
// raft would quietly append an empty entry instead.
func (g *group) beginChange(expect uint64, changes []consensus.Change, done chan memberChangeResult) error {
	status, c := g.node.BasicStatus(), g.currentConfig()
	switch {
	case status.RaftState != raft.StateLeader:
		return consensus.ErrNotLeader
	case g.readyAt(status) == 0:
		return consensus.ErrLeaderNotReady // older entries may hold a change
	case g.change != nil || c.joint():
		return consensus.ErrConfigPending
	case expect != c.Index:
		return fmt.Errorf("%w: it is that of %d, not of %d", consensus.ErrStaleConfig, c.Index, expect)
	case status.LeadTransferee != raft.None:
		return consensus.ErrTransferPending
	}
	cc, err := planChange(c, changes)
	if err != nil {
		return err
	}
	g.drain() // what comes next is the entry
	g.change = &memberChange{term: status.GetTerm(), done: done}
	if err := g.node.ProposeConfChange(cc); err != nil {
		g.change = nil
		return fmt.Errorf("%w: %w", consensus.ErrOverloaded, err)
	}
	g.drain()
	if g.change != nil && g.change.index == 0 {
		g.change = nil
		return consensus.ErrConfigPending
	}
	return nil
}

// locate finds the index of the change in entries that are being appended.
func (c *memberChange) locate(entries []*raftpb.Entry) {
	if c == nil || c.index != 0 {
		return
	}
	for _, e := range entries {
		if e.GetType() == raftpb.EntryConfChangeV2 && e.GetTerm() == c.term {
			c.index = e.GetIndex()
			return
		}
	}
}

// applyConfChange lets a committed configuration entry take effect.
func (g *group) applyConfChange(e *raftpb.Entry, into proto.Message, cc raftpb.ConfChangeI) {
	if err := proto.Unmarshal(e.GetData(), into); err != nil {
		panic(fmt.Sprintf("configuration entry %d: %v", e.GetIndex(), err))
	}
	change, err := parseChange(cc.AsV2())
	if err != nil {
		panic(fmt.Sprintf("configuration entry %d: %v", e.GetIndex(), err))
	}
	g.adopt(change.Base)
	next := g.currentConfig()
	for _, m := range change.Members {
		next = next.withMember(m)
	}
	led := g.node.Status()
	next = next.with(e.GetIndex(), g.withoutGuest(cc.AsV2(), g.node.ApplyConfChange(cc)))
	g.mu.Lock()
	g.history.add(next)
	g.forgetBudgets(next)
	g.mu.Unlock()
	g.backend.transport.setGroup(g.id, next, g.hints)
	g.jointUntil = time.Now().Add(2 * g.timing.election)
	g.log.Info("membership", "index", next.Index, "voters", next.Voters, "learners", next.Learners, "joint", next.joint())
	g.finishChange(e, next)
	g.handOver(led)
}

// adopt gives a replica that joined without a snapshot the configuration before
// the first change, which was given to the first members and is in no entry.
func (g *group) adopt(base config) {
	if len(g.currentConfig().Voters) > 0 || len(base.Voters) == 0 {
		return
	}
	for _, id := range base.Voters { // one at a time, or raft would want a joint configuration
		g.node.ApplyConfChange(&raftpb.ConfChange{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(id)})
	}
	for _, id := range base.Learners {
		g.node.ApplyConfChange(&raftpb.ConfChange{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(id)})
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.history = history{base}
}

// withoutGuest takes this replica out of the learners if it is one only for raft
// (see stepSnapshot), until it is added.
func (g *group) withoutGuest(cc *raftpb.ConfChangeV2, cs *raftpb.ConfState) *raftpb.ConfState {
	for _, c := range cc.GetChanges() {
		if c.GetNodeId() == g.self {
			g.guest = false
		}
	}
	if g.guest {
		cs.Learners = without(cs.Learners, g.self)
	}
	return cs
}

// finishChange answers ChangeMembers once its change is made and no joint
// configuration is left.
func (g *group) finishChange(e *raftpb.Entry, now config) {
	c := g.change
	if c == nil {
		return
	}
	c.applied = c.applied || (e.GetIndex() == c.index && e.GetTerm() == c.term)
	if c.applied && !now.joint() {
		c.done <- memberChangeResult{membership: now.membership()}
		g.change = nil
	}
}

// abandonChange answers ChangeMembers when this replica leads no more.
func (g *group) abandonChange(why error) {
	if g.change != nil {
		g.change.done <- memberChangeResult{err: why}
		g.change = nil
	}
}

// leaveJoint asks raft to leave a joint configuration, in case its own attempt
// was dropped because a transfer of leadership was under way.
func (g *group) leaveJoint(now time.Time) {
	c := g.currentConfig()
	if !c.joint() || !c.AutoLeave || now.Before(g.jointUntil) || g.readyAt(g.node.BasicStatus()) == 0 {
		return
	}
	g.jointUntil = now.Add(2 * g.timing.election)
	if err := g.node.ProposeConfChange(nil); err != nil {
		g.log.Debug("leave the joint configuration", "error", err)
	}
}

// handOver lets the best of the other voters stand at once when a leader has
// taken itself out: without it they would wait for an election timeout.
func (g *group) handOver(before raft.Status) {
	if before.RaftState != raft.StateLeader || g.node.BasicStatus().RaftState == raft.StateLeader {
		return
	}
	to := g.successor(before)
	if to == consensus.NoLeader {
		return
	}
	g.log.Info("leads no more: not a voter", "successor", to)
	g.send(&raftpb.Message{
		Type: raftpb.MsgTimeoutNow.Enum(), From: new(g.self), To: new(to), Term: new(before.GetTerm()),
	})
}
