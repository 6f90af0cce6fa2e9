package kit

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

var versionCases = []Case{
	{Number: 3, Name: "fields of a later version are ignored", Level: 1, Nodes: 1, Rules: []string{"V2"}, run: strangeFieldsIgnored},
	{Number: 3, Name: "enum values of a later version do nothing", Level: 1, Nodes: 1, Rules: []string{"V2"}, run: strangeValues},
	{Number: 26, Name: "an upgrade in place", Level: 1, Nodes: 1, Rules: []string{"V5", "S1", "D3"}, Upgrade: true, run: upgradeInPlace},
	{Number: 26, Name: "a rolling upgrade under load", Level: 3, Nodes: 3, Rules: []string{"V2", "V5", "S1", "D3", "P3"}, Upgrade: true, run: rollingUpgrade},
}

// strangeFieldsIgnored makes every call of the contract that does not need other
// replicas, with fields that nobody knows in every message.
func strangeFieldsIgnored(l *lab) {
	l.strange = true
	n := l.nodes[0]
	for _, mode := range []consensus.OpenMode{consensus.OpenBootstrap, consensus.OpenRecover} {
		if err := n.tryStart(mode); err != nil {
			l.giveUp("V2", "it does not start: %v", err)
		}
		l.eventually("V2", "a leader that is ready", func() bool { leader, _ := l.ready(); return leader != nil })
		_, at := l.ready()
		command := l.command()
		r := l.await(l.propose(n, at.Term, command))
		if r.Outcome != consensus.Committed {
			l.giveUp("V2", "a proposal: %s: %v", r.Outcome, r.Err)
		}
		l.eventually("V2", "the proposal is delivered", func() bool { return l.checks.wasDelivered(command) })
		if index, _, err := l.readIndex(n, l.opts.Patience); err != nil || index < r.Index {
			l.checks.breaks("V2", "read index %d after a commit at %d: %v", index, r.Index, err)
		}
		meta, err := n.save(0)
		if err != nil {
			l.checks.breaks("V2", "save a snapshot: %v", err)
		} else {
			l.wantSnapshot(n, meta)
		}
		l.asksStrangely(n)
		n.shutDown()
	}
}

// asksStrangely makes the calls that only ask.
func (l *lab) asksStrangely(n *node) {
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	rpc, err := n.client().RPC()
	l.must(err)
	const group = uint64(consensus.Metadata)
	for name, call := range map[string]func() error{
		"Describe": func() error {
			_, err := rpc.Describe(ctx, &consensuspb.DescribeRequest{HostContractMinor: 99})
			return err
		},
		"ValidateConfig": func() error { _, err := rpc.ValidateConfig(ctx, &consensuspb.ValidateConfigRequest{}); return err },
		"Health":         func() error { _, err := rpc.Health(ctx, &consensuspb.HealthRequest{}); return err },
		"ListGroups":     func() error { _, err := rpc.ListGroups(ctx, &consensuspb.ListGroupsRequest{}); return err },
		"LeaderFor":      func() error { _, err := rpc.LeaderFor(ctx, &consensuspb.LeaderForRequest{GroupId: group}); return err },
		"GetMembership": func() error {
			_, err := rpc.GetMembership(ctx, &consensuspb.GetMembershipRequest{GroupId: group})
			return err
		},
		"GetStatus": func() error {
			_, err := rpc.GetStatus(ctx, &consensuspb.GetStatusRequest{IncludePeers: true})
			return err
		},
	} {
		if err := call(); err != nil {
			l.checks.breaks("V2", "%s: %v", name, err)
		}
	}
	if _, err := rpc.GetMetrics(ctx, &consensuspb.GetMetricsRequest{}); err != nil && status.Code(err) != codes.Unimplemented {
		l.checks.breaks("V2", "GetMetrics: %v", err)
	}
}

// laterValue is an enum value that no version of the contract has.
const laterValue = 99

// strangeValues asks for what a later version may know: what an unspecified
// value means is an error wherever something would be changed.
func strangeValues(l *lab) {
	n := l.nodes[0]
	launch := n.launch(consensus.OpenBootstrap)
	opened := launch.Groups[0]
	launch.Groups = nil
	ctx, cancel := context.WithTimeout(l.ctx, max(startPatience, l.opts.Patience))
	defer cancel()
	r, err := l.front.Launch(ctx, launch)
	if err != nil {
		l.giveUp("L2", "a replica without groups does not start: %v", err)
	}
	rpc, err := r.RPC()
	l.must(err)
	m := opened.Members[0]
	_, err = rpc.OpenGroup(ctx, &consensuspb.OpenGroupRequest{
		GroupId: uint64(opened.ID), Name: opened.Name, Mode: laterValue,
		InitialMembers: []*consensuspb.Member{{ReplicaId: m.ReplicaID, BrokerId: m.BrokerID, Address: m.Address, Role: consensuspb.MemberRole_MEMBER_ROLE_VOTER}},
	})
	r.Kill()
	if err == nil {
		l.checks.breaks("V2", "a group is opened in mode %d, which nobody knows", laterValue)
		return
	}
	n.start(consensus.OpenBootstrap)
	l.commit(3, 1)
	before := l.members(n)
	if rpc, err = n.client().RPC(); err != nil {
		l.must(err)
	}
	_, err = rpc.ChangeMembership(ctx, &consensuspb.ChangeMembershipRequest{
		GroupId: uint64(consensus.Metadata), ExpectedConfigIndex: before.ConfigIndex, TimeoutMs: uint32(l.opts.Patience.Milliseconds()),
		Changes: []*consensuspb.MemberChange{{Op: laterValue, Member: &consensuspb.Member{ReplicaId: n.id}}},
	})
	if after := l.members(n); err == nil || after.ConfigIndex != before.ConfigIndex || len(after.Members) != len(before.Members) {
		l.checks.breaks("V2", "change %d, which nobody knows, makes %+v of %+v: %v", laterValue, after, before, err)
	}
	l.commit(3, 1)
	l.converge()
}

// upgrade replaces what n is by the version under test, with its data.
func (l *lab) upgrade(n *node) {
	n.front = nil
	if err := n.tryStart(consensus.OpenRecover); err != nil {
		l.giveUp("V5", "replica %d does not start on the data of the earlier version: %v", n.id, err)
	}
}

// startEarlier starts every replica in the earlier version.
func (l *lab) startEarlier() {
	for _, n := range l.nodes {
		n.front = l.opts.Previous
	}
	l.startAll(consensus.OpenBootstrap)
}

func upgradeInPlace(l *lab) {
	l.startEarlier()
	n := l.nodes[0]
	l.commit(100, 16)
	l.converge()
	l.mustSave(n, 1<<20)
	l.commit(50, 16)
	acknowledged := l.checks.acknowledged()
	n.kill() // a version that is replaced need not have stopped in order
	l.upgrade(n)
	l.leader()
	l.eventually("V5", fmt.Sprintf("%d entries, which the earlier version committed, are delivered after the upgrade", len(acknowledged)), func() bool {
		state := n.copyState()
		for name, index := range acknowledged {
			if state.Applied[name] != index {
				return false
			}
		}
		return true
	})
	l.commit(50, 16)
	l.converge()
}

// rollingUpgrade replaces one replica after the other. In between, both versions
// lead in turn.
func rollingUpgrade(l *lab) {
	said := l.speaksWithEarlier()
	l.startEarlier()
	l.commit(50, 16)
	stop := l.load(16)
	for round, i := range l.random.Perm(len(l.nodes)) {
		n := l.nodes[i]
		l.advance(20)
		if l.random.IntN(2) == 0 {
			n.kill()
		} else {
			n.shutDown()
		}
		l.advance(20)
		l.upgrade(n)
		l.followsLoad(n, said || round > 0)
		l.bothLead()
	}
	stop()
	l.converge()
	l.killAll()
	l.startAll(consensus.OpenRecover)
	l.commit(10, 4)
	l.converge()
}

// speaksWithEarlier ends the case if both versions say that they refuse each other,
// which is allowed (V5). It tells whether they have said that they do not.
func (l *lab) speaksWithEarlier() (said bool) {
	earlier, err := l.opts.Previous.Describe(l.ctx)
	if err != nil {
		l.giveUp("kit", "describe the earlier version: %v", err)
	}
	theirs, ours := earlier.PeerProtocol, l.described.PeerProtocol
	if theirs != 0 && ours != 0 && theirs != ours {
		l.notRun("the earlier version speaks peer protocol %d and this one %d, which refuse each other: all replicas have to be stopped for the upgrade", theirs, ours)
	}
	return theirs == ours
}

// followsLoad wants that n, which was upgraded, is given what was committed without it.
func (l *lab) followsLoad(n *node, said bool) {
	target := l.checks.highestCommitted()
	switch {
	case l.within(l.opts.Patience, func() bool { return n.applied() >= target }):
	case !said:
		l.notRun("the earlier version does not say which peer protocol it speaks, and it gives an upgraded replica nothing: it may refuse it on purpose")
	default:
		l.giveUp("V2", "in vain for %s: replica %d, which was upgraded, follows the load up to %d%s", l.opts.Patience, n.id, target, l.status())
	}
}

// bothLead takes the lead from whoever has it, so that others must be followed.
func (l *lab) bothLead() {
	leader, _ := l.leader()
	leader.kill()
	l.advance(20)
	front := leader.front
	if err := leader.tryStart(consensus.OpenRecover); err != nil {
		rule := "L2"
		if front == nil {
			rule = "V5"
		}
		l.giveUp(rule, "replica %d does not start again: %v", leader.id, err)
	}
	l.advance(20)
}

func (l *lab) statusOf(n *node) (consensus.Status, error) {
	c := n.client()
	if c == nil {
		return consensus.Status{}, errors.New("it is down")
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	return c.Status(ctx, consensus.Metadata)
}
