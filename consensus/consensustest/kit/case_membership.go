package kit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
)

var membershipCases = []Case{
	{Number: 20, Name: "from one replica to three", Level: 2, Nodes: 1, Members: 3, Rules: []string{"M2", "M3", "M4", "LEARNERS", "D3", "P3"}, Needs: consensus.CapLearners, run: grow},
	{Number: 20, Name: "changes are compared and set", Level: 2, Nodes: 3, Members: 4, Rules: []string{"M1", "M2", "JOINT_CONSENSUS"}, Needs: consensus.CapLearners, run: compareAndSet},
	{Number: 20, Name: "demoted, removed and replaced", Level: 2, Nodes: 3, Members: 4, Rules: []string{"M1", "M3", "LEARNERS", "D3", "P3"}, Needs: consensus.CapLearners, run: demoteAndRemove},
	{Number: 20, Name: "several changes at once", Level: 2, Nodes: 3, Members: 5, Rules: []string{"JOINT_CONSENSUS", "M1", "D3", "P3"}, Needs: consensus.CapJointConsensus, run: joint},
	{Number: 20, Name: "every replica is replaced under load", Level: 3, Nodes: 3, Members: 4, Rules: []string{"M1", "M2", "M3", "M4", "D3", "P3", "S1"}, Needs: consensus.CapLearners, run: replaceAll},
}

// quiet is how many election timeouts a replica is watched that should do nothing.
const quiet = 10

// members is what n knows of the configuration.
func (l *lab) members(n *node) consensus.Membership {
	c := n.client()
	if c == nil {
		return consensus.Membership{}
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	m, err := c.Members(ctx, consensus.Metadata)
	if err != nil {
		l.log.Warn("members", "replica", n.id, "error", err)
	}
	return m
}

// tryChange asks n once.
func (l *lab) tryChange(n *node, expect uint64, changes ...consensus.Change) (consensus.Membership, error) {
	c := n.client()
	if c == nil {
		return consensus.Membership{}, consensus.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	return c.ChangeMembers(ctx, consensus.Metadata, expect, changes)
}

// passing are the errors of a change after which it is tried again.
var passing = []error{
	consensus.ErrNotLeader, consensus.ErrLeaderNotReady, consensus.ErrStaleConfig, consensus.ErrConfigPending, consensus.ErrTransferPending,
	consensus.ErrTimeout, consensus.ErrLeadershipLost, consensus.ErrUnavailable, consensus.ErrNoQuorum, context.DeadlineExceeded,
}

func isPassing(err error) bool {
	return slices.ContainsFunc(passing, func(p error) bool { return errors.Is(err, p) })
}

// change has changes made, by whoever leads, however long that takes. Whether a
// change with an uncertain outcome was made is read from the configuration.
func (l *lab) change(changes ...consensus.Change) { l.changeBy("M2", changes...) }

// changeBy is change for a case that judges rule by it.
func (l *lab) changeBy(rule string, changes ...consensus.Change) {
	for _, c := range changes {
		if c.Op == consensus.Remove {
			l.checks.leaves(c.Member.ReplicaID)
		}
	}
	var last error
	l.eventually(rule, fmt.Sprintf("the change %+v is made", changes), func() bool {
		n, _ := l.ready()
		if n == nil {
			return false
		}
		before := l.members(n)
		if before.Pending {
			return false
		}
		if l.isMade(before, changes) {
			return true
		}
		after, err := l.tryChange(n, before.ConfigIndex, changes...)
		if err == nil {
			if !l.isMade(after, changes) || after.Pending || len(after.Outgoing) > 0 || after.ConfigIndex <= before.ConfigIndex {
				l.checks.breaks(rule, "the change %+v of %+v is answered with %+v", changes, before, after)
			}
			return true
		}
		if !isPassing(err) {
			l.giveUp(rule, "the change %+v of %+v: %v", changes, before, err)
		}
		if fmt.Sprint(err) != fmt.Sprint(last) {
			l.log.Info("a change is tried again", "changes", fmt.Sprint(changes), "error", err)
		}
		last = err
		return false
	})
}

// isMade tells whether the changes are made in m.
func (l *lab) isMade(m consensus.Membership, changes []consensus.Change) bool {
	for _, c := range changes {
		role := roleIn(m, c.Member.ReplicaID)
		switch c.Op {
		case consensus.AddLearner, consensus.Demote:
			if role != consensus.LearnerMember {
				return false
			}
		case consensus.Promote:
			if role != consensus.Voter {
				return false
			}
		case consensus.Remove:
			if role != 0 {
				return false
			}
		}
	}
	return true
}

// roleIn is what a replica counts as in m; 0 if it is no member.
func roleIn(m consensus.Membership, id uint64) consensus.MemberRole {
	for _, one := range m.Members {
		if one.ReplicaID == id {
			return one.Role
		}
	}
	return 0
}

func of(op consensus.ChangeOp, n *node) consensus.Change {
	return consensus.Change{Op: op, Member: consensus.Member{ReplicaID: n.id, BrokerID: int32(n.id)}}
}

// join starts a replica that waits to be added. It must wait: who campaigns
// without a log would found a cluster of its own.
func (l *lab) join() *node {
	l.addNodes(1)
	n := l.nodes[len(l.nodes)-1]
	n.joined = true
	n.start(consensus.OpenJoin)
	return n
}

// waits watches a replica that has joined, and is no member yet.
func (l *lab) waits(n *node) {
	until := time.Now().Add(quiet * l.timing.ElectionTimeout)
	l.within(l.opts.Patience, func() bool {
		s := n.leadership()
		if s.Role == consensus.Candidate || s.Role == consensus.Leader || s.Role == consensus.LeaderReady {
			l.giveUp("M4", "replica %d has joined with an empty log, nobody has added it, and it is a %s in term %d", n.id, s.Role, s.Term)
		}
		return time.Now().After(until)
	})
}

// add makes a joined replica a learner and waits until it has what was committed
// when it was added: there may be load, and so there may always be more.
func (l *lab) add(n *node) {
	leader, _ := l.leader()
	l.change(consensus.Change{Op: consensus.AddLearner, Member: l.member(leader, n, consensus.LearnerMember)})
	target := l.checks.highestCommitted()
	l.eventually("M2", fmt.Sprintf("replica %d, a learner, catches up with %d", n.id, target), func() bool {
		leader, _ := l.ready()
		if leader == nil || n.applied() < target {
			return false
		}
		s, err := l.statusOf(leader)
		return err == nil && slices.ContainsFunc(s.Peers, func(p consensus.PeerStatus) bool { return p.ReplicaID == n.id && p.Match >= target })
	})
}

// grow makes three replicas of one, and takes the first away.
func grow(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	first := l.nodes[0]
	l.commit(50, 16)
	l.converge()
	l.mustSave(first, 0) // so that who joins needs the snapshot, which does not know it
	l.commit(20, 4)
	second := l.join()
	l.waits(second)
	l.add(second)
	if s := second.leadership(); s.Role != consensus.Learner {
		l.eventually("LEARNERS", "a learner says that it is one", func() bool { return second.leadership().Role == consensus.Learner })
	}
	second.kill() // a learner does not count
	l.withoutLearner()
	second.start(consensus.OpenRecover)
	l.change(of(consensus.Promote, second))
	l.commit(20, 4)
	third := l.join()
	l.add(third)
	l.change(of(consensus.Promote, third))
	l.commit(20, 4)
	l.converge()
	l.remove(first)
	l.commit(20, 4)
	l.converge()
	l.killAll()
	for _, n := range []*node{second, third} {
		n.start(consensus.OpenRecover)
	}
	l.commit(10, 4)
	l.converge()
}

// withoutLearner wants commits while a learner is down.
func (l *lab) withoutLearner() {
	l.eventually("LEARNERS", "a leader, while a learner is down and all voters are up", func() bool { n, _ := l.ready(); return n != nil })
	// A leader may lose its office for reasons of its own meanwhile: the next one commits.
	var leader *node
	l.eventually("LEARNERS", "a committed proposal, while a learner is down and all voters are up", func() bool {
		n, at := l.ready()
		if n == nil {
			return false
		}
		leader = n
		return l.await(l.propose(n, at.Term, l.command())).Outcome == consensus.Committed
	})
	l.pause(3 * l.timing.ElectionTimeout)
	if now := leader.leadership(); now.Role != consensus.LeaderReady {
		l.eventually("LEARNERS", "a leader, while a learner is down", func() bool { n, _ := l.ready(); return n != nil })
	}
	l.commit(20, 4)
}

// remove takes a member out that is up: it must say so and be quiet.
func (l *lab) remove(n *node) {
	_, before := l.checks.elections()
	l.change(of(consensus.Remove, n))
	n.removed = true
	leader, _ := l.leader()
	removal := l.members(leader).ConfigIndex
	said := l.within(l.opts.Patience, func() bool { return n.leadership().Role == consensus.Removed })
	// If the lead was lost meanwhile, the next leader may have found the change in its
	// log, and has nothing to say to a replica that is no member: that one may not know.
	if _, now := l.checks.elections(); !said && (now == before || n.applied() >= removal) {
		l.giveUp("M3", "in vain for %s: replica %d, which was removed, says so%s", l.opts.Patience, n.id, l.status())
	}
	l.isQuiet(n)
}

// isQuiet wants that a replica which is no member any more does not disturb the
// others. Terms also rise where replicas get no processor and elect in vain: it is
// the removed one's fault if its own term rises with them, and if that happens in
// three windows in a row in which the machine did not stand still.
func (l *lab) isQuiet(n *node) {
	disturbed, stalls := 0, 0
	for {
		what, stalled := l.disturbance(n)
		switch {
		case what == "":
			return
		case stalled:
			if stalls++; stalls == 3 {
				l.notRun("the machine stands still again and again")
			}
		default:
			if disturbed++; disturbed == 3 {
				l.checks.breaks("M3", "%s, the third time in a row", what)
				return
			}
		}
	}
}

// disturbance watches a removed replica for a while and tells what it disturbs,
// and whether this process stood still meanwhile.
func (l *lab) disturbance(n *node) (what string, stalled bool) {
	l.leader()
	wonBefore, before := l.checks.elections()
	its := l.checks.termOf(n)
	last := time.Now()
	l.within(quiet*l.timing.ElectionTimeout, func() bool {
		now := time.Now()
		stalled = stalled || now.Sub(last) >= l.timing.ElectionTimeout/4
		last = now
		if s := n.leadership(); s.Role == consensus.Leader || s.Role == consensus.LeaderReady {
			l.giveUp("M3", "replica %d was removed, and is a %s in term %d", n.id, s.Role, s.Term)
		}
		return false
	})
	won, highest := l.checks.elections()
	if highest <= before+uint64(won-wonBefore)+3 || l.checks.termOf(n) == its {
		return "", stalled
	}
	return fmt.Sprintf("replica %d was removed, %d elections were won, and the term went from %d to %d, its own from %d to %d",
		n.id, won-wonBefore, before, highest, its, l.checks.termOf(n)), stalled
}

// compareAndSet wants that only who knows the configuration changes it, one at a time.
func compareAndSet(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(10, 4)
	guest := func(id uint64) consensus.Change {
		return consensus.Change{Op: consensus.AddLearner, Member: consensus.Member{ReplicaID: id, BrokerID: int32(id), Address: "127.0.0.1:1", Role: consensus.LearnerMember}}
	}
	for _, offset := range []int64{1000, -1} {
		l.staleIsRefused(offset, guest(50))
	}
	l.followersRefuse(guest)
	l.oneAtATime(guest(60), guest(61))
	for round := range l.scale(3, 10, 50) {
		l.race(func(i int) consensus.Change { return guest(uint64(100 + 10*round + i)) })
	}
	l.commit(10, 4)
	l.converge()
}

// staleIsRefused wants STALE_CONFIG for a change of a configuration that is not the
// newest. A leader may just lose the lead, and say that instead: then it is asked again.
func (l *lab) staleIsRefused(offset int64, change consensus.Change) {
	l.eventually("M1", "a change of a configuration that is not the newest is answered STALE_CONFIG", func() bool {
		leader, _ := l.ready()
		if leader == nil {
			return false
		}
		before := l.members(leader)
		wrong := uint64(int64(before.ConfigIndex) + offset)
		m, err := l.tryChange(leader, wrong, change)
		if err == nil || !isPassing(err) {
			l.giveUp("M1", "the configuration is that of %d, and a change of that of %d gives %+v, %v", before.ConfigIndex, wrong, m, err)
		}
		return errors.Is(err, consensus.ErrStaleConfig)
	})
}

// followersRefuse wants that only a leader changes the members. Who follows may have
// become the leader by the time it is asked, and its term tells.
func (l *lab) followersRefuse(guest func(id uint64) consensus.Change) {
	leader, at := l.leader()
	before := l.members(leader)
	for i, n := range l.others(leader) {
		if _, err := l.tryChange(n, before.ConfigIndex, guest(uint64(51+i))); err != nil {
			continue
		}
		if s, err := l.statusOf(n); err == nil && s.Leadership.Term <= at.Term {
			l.checks.breaks("M1", "replica %d follows replica %d in term %d, and changes the members", n.id, leader.id, at.Term)
		}
		return
	}
}

// oneAtATime wants that who does not claim joint consensus refuses two changes at once.
func (l *lab) oneAtATime(changes ...consensus.Change) {
	if slices.Contains(l.described.Capabilities, consensus.CapJointConsensus) {
		return
	}
	l.eventually("JOINT_CONSENSUS", "two changes at once are answered", func() bool {
		leader, _ := l.ready()
		if leader == nil {
			return false
		}
		m, err := l.tryChange(leader, l.members(leader).ConfigIndex, changes...)
		if errors.Is(err, consensus.ErrUnsupported) {
			return true
		}
		if err != nil && isPassing(err) {
			return false // it may just lose the lead
		}
		l.checks.breaks("JOINT_CONSENSUS", "the capability is not claimed, and two changes at once give %+v, %v", m, err)
		return true
	})
}

// race makes several changes of the same configuration at the same time. At most
// one can win.
func (l *lab) race(change func(i int) consensus.Change) {
	const racers = 4
	leader, _ := l.leader()
	before := l.members(leader)
	errs := make([]error, racers)
	var running sync.WaitGroup
	for i := range racers {
		running.Go(func() { _, errs[i] = l.tryChange(leader, before.ConfigIndex, change(i)) })
	}
	running.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !isPassing(err):
			l.checks.breaks("M1", "one of %d changes at the same time gives %v", racers, err)
		}
	}
	var made []uint64
	l.eventually("M1", "no change is pending", func() bool {
		leader, _ := l.ready()
		if leader == nil {
			return false
		}
		m := l.members(leader)
		made = nil
		for i := range racers {
			if id := change(i).Member.ReplicaID; roleIn(m, id) != 0 {
				made = append(made, id)
			}
		}
		return !m.Pending && len(m.Members) > 0
	})
	if won > 1 || len(made) > 1 {
		l.giveUp("M1", "of %d changes of the configuration of %d, %d are said to be made, and %v were added", racers, before.ConfigIndex, won, made)
	}
	for _, id := range made {
		l.change(consensus.Change{Op: consensus.Remove, Member: consensus.Member{ReplicaID: id}})
	}
}

// demoteAndRemove takes members out in every way, and puts one in their place.
func demoteAndRemove(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(50, 16)
	leader, _ := l.leader()
	follower := l.others(leader)[0]
	l.change(of(consensus.Demote, follower))
	l.eventually("LEARNERS", "who was demoted says so", func() bool { return follower.leadership().Role == consensus.Learner })
	follower.kill()
	l.withoutLearner()
	follower.start(consensus.OpenRecover)
	l.change(of(consensus.Promote, follower))
	l.commit(20, 4)
	l.converge()

	leader, _ = l.leader()
	down := l.others(leader)[l.random.IntN(2)]
	down.kill()
	l.change(of(consensus.Remove, down))
	down.removed = true
	l.commit(20, 4)
	down.start(consensus.OpenRecover) // it may not know
	l.isQuiet(down)
	l.commit(20, 4)

	replacement := l.join()
	l.add(replacement)
	l.change(of(consensus.Promote, replacement))
	l.commit(20, 4)
	l.converge()

	leader, _ = l.leader()
	l.remove(leader)
	l.commit(20, 4)
	l.converge()
	r := l.raw(leader, consensus.Proposal{Term: leader.leadership().Term, Sequence: 1}, l.command())
	if r.Outcome == consensus.Committed {
		l.checks.breaks("M3", "replica %d was removed, and commits a proposal at %d", leader.id, r.Index)
	}
	l.killAll()
	for _, n := range l.nodes {
		n.start(consensus.OpenRecover)
	}
	l.commit(20, 4)
	l.isQuiet(leader)
	l.converge()
}

// joint replaces two of three members by one change.
func joint(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(50, 16)
	stop := l.load(8)
	fourth, fifth := l.join(), l.join()
	l.add(fourth)
	l.add(fifth)
	leader, _ := l.leader()
	gone := l.others(leader, fourth, fifth)
	if l.random.IntN(2) == 0 {
		gone[0] = leader
	}
	want := []consensus.Change{of(consensus.Promote, fourth), of(consensus.Promote, fifth), of(consensus.Remove, gone[0]), of(consensus.Remove, gone[1])}
	l.changeBy("JOINT_CONSENSUS", want...)
	for _, n := range gone {
		n.removed = true
	}
	l.eventually("JOINT_CONSENSUS", "the new configuration, and nothing of the old one", func() bool {
		leader, _ := l.ready()
		if leader == nil || leader.removed {
			return false
		}
		m := l.members(leader)
		return l.isMade(m, want) && len(m.Members) == 3 && len(m.Outgoing) == 0 && !m.Pending
	})
	for _, n := range gone {
		n.kill()
	}
	l.advance(20)
	stop()
	l.converge()
	l.killAll()
	for _, n := range l.others(gone...) {
		n.start(consensus.OpenRecover)
	}
	l.commit(20, 4)
	l.converge()
}

// replaceAll replaces every one of three replicas, while there is load and while
// others die.
func replaceAll(l *lab) {
	l.startAll(consensus.OpenBootstrap)
	l.commit(20, 4)
	stop := l.load(16)
	for _, old := range slices.Clone(l.nodes) {
		n := l.join()
		l.add(n)
		l.change(of(consensus.Promote, n))
		l.advance(20)
		if l.random.IntN(2) == 0 {
			leader, _ := l.leader()
			leader.kill()
			l.advance(10)
			leader.start(consensus.OpenRecover)
		}
		if l.random.IntN(2) == 0 {
			old.kill()
		}
		l.change(of(consensus.Remove, old))
		old.removed = true
		l.advance(20)
		old.kill() // for good
	}
	l.advance(20)
	stop()
	l.converge()
	l.killAll()
	for _, n := range l.nodes {
		if !n.removed {
			n.start(consensus.OpenRecover)
		}
	}
	l.commit(20, 4)
	l.converge()
}
