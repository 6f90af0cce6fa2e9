package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/quorate/quorate/protocol"
)

// After a failover the members of a stable group go on with the ids and the
// generation they have, and their sessions begin anew.
func TestFailover(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second := b.consumer(), b.consumer()
		join(t, first, second)
		want(t, "commit", first.commit("orders", 0, 1), protocol.None)
		time.Sleep(session - time.Second)
		b.failover()
		time.Sleep(session - time.Second)
		want(t, "heartbeat", first.heartbeat(), protocol.None)
		want(t, "sync", first.sync(), protocol.None)
		if first.assignment != "for "+first.id {
			t.Errorf("assigned %q", first.assignment)
		}
		want(t, "commit", first.commit("orders", 0, 2), protocol.None)
		time.Sleep(2 * time.Second)
		want(t, "heartbeat after the other's session", first.heartbeat(), protocol.RebalanceInProgress)
		join(t, first)
	})
}

// What waits is answered when the leadership is lost, wherever it waits.
func TestFailoverAnswersAll(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		leader, follower, other := b.consumer(), b.consumer(), b.consumer()
		one, two := begin(leader.join), begin(follower.join)
		want(t, "join", <-one, protocol.None)
		want(t, "join", <-two, protocol.None)
		if leader.leader != leader.id {
			follower = leader
		}
		syncing := begin(follower.sync)
		waits(t, "sync", syncing)
		other.group = "other"
		joining := begin(other.join)
		waits(t, "join", joining)
		b.topic.Depose(0)
		want(t, "sync", <-syncing, protocol.NotCoordinator)
		want(t, "join", <-joining, protocol.NotCoordinator)
	})
}

// An assignment that is not replicated is not handed out; one that is refused
// has the members begin again.
func TestAnAssignmentThatIsNotCommitted(t *testing.T) {
	tests := []struct {
		name    string
		fault   func(b *broker)
		want    protocol.ErrorCode
		becomes state
	}{
		{"slow", func(b *broker) { b.log.Hold() }, protocol.CoordinatorNotAvailable, stable},
		{"refused", func(b *broker) {
			b.log.FailAppend(protocol.Errorf(protocol.NotEnoughReplicas, "one of two"), false)
		}, protocol.CoordinatorNotAvailable, preparing},
		{"too large", func(b *broker) {
			b.log.FailAppend(protocol.Errorf(protocol.MessageTooLarge, "too large"), false)
		}, protocol.UnknownServerError, preparing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, nil, func(t *testing.T, b *broker) {
				first, second := b.consumer(), b.consumer()
				one, two := begin(first.join), begin(second.join)
				want(t, "join", <-one, protocol.None)
				want(t, "join", <-two, protocol.None)
				if first.leader != first.id {
					first, second = second, first
				}
				follower := begin(second.sync)
				tt.fault(b)
				want(t, "the leader's sync", first.sync(), tt.want)
				want(t, "the follower's sync", <-follower, tt.want)
				b.log.Release()
				b.wantState(tt.becomes)
				join(t, first, second)
			})
		})
	}
}

// snapshot is everything that must survive: groups that do not rebalance, and
// every offset.
func (m *machine) snapshot() string {
	var out []string
	for id, g := range m.groups {
		for tp, o := range g.offsets {
			out = append(out, fmt.Sprint(id, " ", tp, " ", o.offset, o.leaderEpoch, o.metadata, o.topicID, o.committed.UnixMilli(), o.expires.UnixMilli()))
		}
		if g.recorded && (g.state == stable || g.state == empty) {
			out = append(out, fmt.Sprint(id, " ", g.state, g.generation, g.protocolType, g.protocol, g.leader, g.since.UnixMilli()))
			for _, mem := range g.members {
				out = append(out, fmt.Sprint(id, " member ", mem.id, deref(mem.instance), mem.clientID, mem.clientHost,
					mem.rebalanceTimeout, mem.sessionTimeout, string(mem.metadata(g.protocol)), string(mem.assignment)))
			}
			for instance, member := range g.instances {
				out = append(out, fmt.Sprint(id, " instance ", instance, member))
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// step is one thing that happens to one of the groups.
type step struct {
	what  string
	group int
	which int // of its consumers
}

var whats = []string{
	"join", "join", "join", "settle", "settle", "settle", "leave", "commit", "commit", "commit", "restart", "heartbeats",
	"failover", "refuse", "lose", "tear", "hold", "release", "sleep",
}

// world is the clients of a property test.
type world struct {
	b         *broker
	consumers [2][]*consumer
	acked     map[string]int64 // by group: the last offset that was acknowledged
	next      int64
}

func (w *world) do(s step) {
	b, group := w.b, &w.consumers[s.group]
	var c *consumer
	if len(*group) > 0 {
		c = (*group)[s.which%len(*group)]
	}
	switch s.what {
	case "join":
		if len(*group) < 4 {
			n := b.consumer()
			if s.which%2 == 0 {
				n = b.static(fmt.Sprint("instance", s.which))
			}
			n.group, n.protocols = fmt.Sprint("group", s.group), []string{"a", "b"}
			*group = append(*group, n)
		}
	case "settle":
		w.settle(*group)
	case "leave":
		if c != nil {
			c.leave()
		}
	case "commit":
		w.commit(s.group, c)
	case "restart":
		if c != nil && c.instance != nil {
			c.id = ""
			c.joinOnce()
		}
	case "heartbeats":
		for _, c := range *group {
			c.heartbeat()
		}
	case "sleep":
		time.Sleep(session / 3)
	default:
		w.disturb(s.what)
	}
}

func (w *world) disturb(what string) {
	switch what {
	case "failover":
		w.b.failover()
	case "refuse":
		w.b.log.FailAppend(protocol.Errorf(protocol.NotEnoughReplicas, "one of two"), false)
	case "lose":
		w.b.log.FailAppend(errors.New("input/output error"), false)
	case "tear":
		w.b.log.FailAppend(errors.New("input/output error"), true)
	case "hold":
		w.b.log.Hold()
	case "release":
		w.b.log.Release()
	}
}

// settle has every consumer do what clients do until the group is stable, but
// not for ever: there are faults.
func (w *world) settle(consumers []*consumer) {
	for range 3 {
		var calls []call
		for _, c := range consumers {
			calls = append(calls, begin(func() protocol.ErrorCode {
				code := c.join()
				if code == protocol.UnknownMemberID || code == protocol.FencedInstanceID {
					c.id = ""
				}
				if code == protocol.None {
					code = c.sync()
				}
				return code
			}))
		}
		failed := false
		for _, answer := range calls {
			failed = <-answer != protocol.None || failed
		}
		if !failed {
			return
		}
	}
}

// commit commits as a member of the group, or as nobody.
func (w *world) commit(group int, c *consumer) {
	if c == nil {
		c = w.b.consumer()
		c.group = fmt.Sprint("group", group)
	}
	w.next++
	if c.commit("orders", 0, w.next) == protocol.None {
		w.acked[c.group] = w.next
	}
}

// check compares memory with what a new leader makes of the log.
func (w *world) check() error {
	w.b.log.Heal()
	time.Sleep(2 * w.b.cfg.Shard.LoadBackoff) // whatever is loading now, has
	synctest.Wait()
	before := peek(w.b.t, w.b, (*machine).snapshot)
	rebalancing := peek(w.b.t, w.b, func(m *machine) map[string]bool {
		ids := map[string]bool{}
		for id, g := range m.groups {
			ids[id] = g.state == preparing || g.state == completing
		}
		return ids
	})
	w.b.failover()
	after := peek(w.b.t, w.b, func(m *machine) string {
		for id, g := range m.groups {
			if rebalancing[id] { // its last generation is back
				g.state = preparing
			}
		}
		return m.snapshot()
	})
	if before != after {
		return fmt.Errorf("before:\n%s\n\nafter:\n%s", before, after)
	}
	for group, acked := range w.acked {
		offsets, code := w.b.offsets(group)
		if got := offsets[tp("orders", 0)]; got < acked || code != protocol.None {
			return fmt.Errorf("%s: offset %d (%v), but %d was acknowledged", group, got, code, acked)
		}
	}
	return nil
}

// Whatever happens, the state before a failover is the state after it, and no
// acknowledged offset is lost.
func TestReplayEqualsMemory(t *testing.T) {
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			what:  rapid.SampledFrom(whats).Draw(t, "what"),
			group: rapid.IntRange(0, 1).Draw(t, "group"),
			which: rapid.IntRange(0, 3).Draw(t, "which"),
		}
	}), 1, 40)
	rapid.Check(t, func(rt *rapid.T) {
		program := steps.Draw(rt, "steps")
		var failure error
		synctest.Test(t, func(t *testing.T) { // rapid must not be called in the bubble
			w := &world{b: start(t, nil), acked: map[string]int64{}}
			for _, s := range program {
				w.do(s)
			}
			failure = w.check()
		})
		if failure != nil {
			rt.Fatal(failure)
		}
	})
}
