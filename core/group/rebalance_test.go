package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

func TestTwoMembersRebalance(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second := b.consumer(), b.consumer()
		began := time.Now()
		join(t, first)
		if took := time.Since(began); took != rebalanceDelay {
			t.Errorf("the first rebalance took %v, want the delay of %v", took, rebalanceDelay)
		}
		b.wantState(stable)
		want(t, "heartbeat", first.heartbeat(), protocol.None)

		joining := begin(second.join)
		waits(t, "the second's join", joining)
		b.wantState(preparing)
		want(t, "commit while the group prepares", first.commit("orders", 0, 5), protocol.None)
		want(t, "heartbeat while the group prepares", first.heartbeat(), protocol.RebalanceInProgress)
		want(t, "sync while the group prepares", first.sync(), protocol.RebalanceInProgress)

		want(t, "the first's rejoin", first.join(), protocol.None)
		want(t, "the second's join", <-joining, protocol.None)
		if first.generation != 2 || second.generation != 2 || len(first.members) != 2 || second.members != nil {
			t.Errorf("generations %d and %d, members %v and %v", first.generation, second.generation, first.members, second.members)
		}
		b.wantState(completing)
		want(t, "commit before the assignment", second.commit("orders", 0, 6), protocol.RebalanceInProgress)
		follower := begin(second.sync)
		waits(t, "a follower's sync", follower)
		want(t, "the leader's sync", first.sync(), protocol.None)
		want(t, "the follower's sync", <-follower, protocol.None)
		if second.assignment != "for "+second.id {
			t.Errorf("second was assigned %q", second.assignment)
		}
		b.wantState(stable)

		want(t, "leave", second.leave(), protocol.None)
		want(t, "heartbeat after a leave", first.heartbeat(), protocol.RebalanceInProgress)
		join(t, first)
		want(t, "heartbeat of one who left", second.heartbeat(), protocol.UnknownMemberID)
		want(t, "last leave", first.leave(), protocol.None)
		b.wantState(empty)
	})
}

// Members that come during the first rebalance prolong it, so that the group
// rebalances once and not for each of them.
func TestTheFirstRebalanceWaitsForMore(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second := b.consumer(), b.consumer()
		began := time.Now()
		one := begin(first.join)
		time.Sleep(2 * time.Second)
		two := begin(second.join)
		want(t, "first", <-one, protocol.None)
		want(t, "second", <-two, protocol.None)
		if took := time.Since(began); took != 2*rebalanceDelay {
			t.Errorf("took %v, want %v", took, 2*rebalanceDelay)
		}
		if first.generation != 1 || second.generation != 1 {
			t.Errorf("generations %d and %d, want 1", first.generation, second.generation)
		}
		syncAll(t, first, second)
	})
}

func TestASessionExpires(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second := b.consumer(), b.consumer()
		join(t, first, second)
		for i := range 3 { // longer than a session, with heartbeats in between
			time.Sleep(session / 2)
			if got := first.heartbeat(); i < 1 {
				want(t, "heartbeat", got, protocol.None)
			}
		}
		want(t, "heartbeat after the other's session", first.heartbeat(), protocol.RebalanceInProgress)
		want(t, "heartbeat of the dead", second.heartbeat(), protocol.UnknownMemberID)
		join(t, first)
		if len(first.members) != 1 {
			t.Errorf("members %v, want only the first", first.members)
		}
		time.Sleep(session + time.Second)
		b.wantState(empty)
	})
}

func TestWhoDoesNotRejoinIsOut(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second, third := b.consumer(), b.consumer(), b.consumer()
		join(t, first, second)
		joining := begin(third.join)
		rejoining := begin(second.join)
		began := time.Now()
		for time.Since(began) < rebalanceTimeout { // the first only sends heartbeats
			want(t, "heartbeat", first.heartbeat(), protocol.RebalanceInProgress)
			time.Sleep(session / 2)
		}
		want(t, "join", <-joining, protocol.None)
		want(t, "rejoin", <-rejoining, protocol.None)
		want(t, "heartbeat of who is out", first.heartbeat(), protocol.UnknownMemberID)
		if second.leader == first.id {
			t.Errorf("the one who is out still leads")
		}
		syncAll(t, second, third)
	})
}

func TestWhoDoesNotSyncIsOut(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second := b.consumer(), b.consumer()
		one, two := begin(first.join), begin(second.join)
		want(t, "join", <-one, protocol.None)
		want(t, "join", <-two, protocol.None)
		follower := begin(second.sync)
		began := time.Now()
		for time.Since(began) < rebalanceTimeout {
			want(t, "heartbeat", first.heartbeat(), protocol.None)
			time.Sleep(session / 2)
		}
		want(t, "the follower's sync", <-follower, protocol.RebalanceInProgress)
		join(t, second)
		want(t, "heartbeat of who is out", first.heartbeat(), protocol.UnknownMemberID)
	})
}

func TestAPendingMemberHoldsUpNobodyForEver(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, pending := b.consumer(), b.consumer()
		join(t, first)
		want(t, "first join", pending.joinOnce(), protocol.MemberIDRequired)
		rejoin := b.consumer()
		joining := begin(rejoin.join)
		waits(t, "join", joining)
		began := time.Now()
		want(t, "rejoin", first.join(), protocol.None)
		want(t, "join", <-joining, protocol.None)
		if took := time.Since(began); took != session {
			t.Errorf("took %v, want the session of the one who never came, %v", took, session)
		}
		syncAll(t, first, rejoin)
		want(t, "join too late", pending.joinOnce(), protocol.UnknownMemberID)
	})
}

func TestProtocolsAreVotedOn(t *testing.T) {
	tests := []struct {
		name    string
		members [][]string
		want    string
		last    protocol.ErrorCode // of the last member's join
	}{
		{"the only common one", [][]string{{"a", "b"}, {"c", "b"}}, "b", protocol.None},
		{"the majority's first", [][]string{{"a", "b"}, {"b", "a"}, {"b", "a"}}, "b", protocol.None},
		{"nothing in common", [][]string{{"a"}, {"b"}}, "a", protocol.InconsistentGroupProtocol},
		{"no protocols", [][]string{{}}, "", protocol.InconsistentGroupProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, nil, func(t *testing.T, b *broker) {
				var calls []call
				for _, protocols := range tt.members {
					c := b.consumer()
					c.protocols = protocols
					calls = append(calls, begin(c.join))
				}
				want(t, "last join", <-calls[len(calls)-1], tt.last)
				for _, c := range calls[:len(calls)-1] {
					<-c
				}
				got := peek(t, b, func(m *machine) string {
					if g := m.groups["g"]; g != nil {
						return g.protocol
					}
					return ""
				})
				if got != tt.want {
					t.Errorf("protocol %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestRefusedJoins(t *testing.T) {
	tests := []struct {
		name   string
		change func(*kmsg.JoinGroupRequest)
		want   protocol.ErrorCode
	}{
		{"no group", func(r *kmsg.JoinGroupRequest) { r.Group = "" }, protocol.InvalidGroupID},
		{"session too short", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5999 }, protocol.InvalidSessionTimeout},
		{"session too long", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1800001 }, protocol.InvalidSessionTimeout},
		{"session negative", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = -1 }, protocol.InvalidSessionTimeout},
		{"member of no group", func(r *kmsg.JoinGroupRequest) { r.MemberID, r.Group = "m", "other" }, protocol.UnknownMemberID},
		{"no such member", func(r *kmsg.JoinGroupRequest) { r.MemberID = "m" }, protocol.UnknownMemberID},
		{"no such instance", func(r *kmsg.JoinGroupRequest) { r.MemberID, r.InstanceID = "m", new("i") }, protocol.UnknownMemberID},
		{"other type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" }, protocol.InconsistentGroupProtocol},
	}
	scenario(t, nil, func(t *testing.T, b *broker) {
		join(t, b.consumer(), b.consumer())
		for _, tt := range tests {
			req := b.consumer().joinRequest()
			tt.change(req)
			resp := b.JoinGroup(t.Context(), req, ClientInfo{ID: "c"})
			want(t, tt.name, protocol.ErrorCode(resp.ErrorCode), tt.want)
		}
		if n := len(b.describe("other").Members); n != 0 {
			t.Errorf("a refused join left a group with %d members", n)
		}
	})
}

// Who was only given an id takes a place too: else their number has no bound.
func TestAFullGroup(t *testing.T) {
	scenario(t, func(c *Config) { c.MaxGroupSize = 2 }, func(t *testing.T, b *broker) {
		first, second, third := b.consumer(), b.consumer(), b.consumer()
		join(t, first)
		want(t, "second gets an id", second.joinOnce(), protocol.MemberIDRequired)
		want(t, "third", third.joinOnce(), protocol.GroupMaxSizeReached)
		join(t, first, second)
		want(t, "third, while stable", third.joinOnce(), protocol.GroupMaxSizeReached)
		join(t, first, second)
		want(t, "leave", second.leave(), protocol.None)
		want(t, "third, when there is room", third.joinOnce(), protocol.MemberIDRequired)
	})
}

func TestMembersWithTooMuchToSay(t *testing.T) {
	scenario(t, func(c *Config) { c.MaxGroupBytes = 60 }, func(t *testing.T, b *broker) {
		first, second, third := b.consumer(), b.consumer(), b.consumer() // 22 bytes each
		join(t, first, second)
		want(t, "third", third.joinOnce(), protocol.GroupMaxSizeReached)
		join(t, first, second)
	})
}

// A follower that joins a stable group again with nothing new to say lost an
// answer; it must not make everybody rebalance. A leader means it.
func TestRejoiningAStableGroup(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second := b.consumer(), b.consumer()
		join(t, first, second)
		leader, follower := first, second
		if second.leader == second.id {
			leader, follower = second, first
		}
		want(t, "the follower's rejoin", follower.join(), protocol.None)
		want(t, "its sync", follower.sync(), protocol.None)
		b.wantState(stable)
		rejoining := begin(leader.join)
		b.wantState(preparing)
		want(t, "the follower's rejoin", follower.join(), protocol.None)
		want(t, "the leader's rejoin", <-rejoining, protocol.None)
		syncAll(t, first, second)
	})
}

func TestStaleRequests(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		c := b.consumer()
		join(t, c)
		c.generation++
		want(t, "heartbeat", c.heartbeat(), protocol.IllegalGeneration)
		want(t, "sync", c.sync(), protocol.IllegalGeneration)
		want(t, "commit", c.commit("orders", 0, 1), protocol.IllegalGeneration)
		stranger := &consumer{b: b, group: "g", id: "stranger", generation: 1}
		want(t, "stranger's heartbeat", stranger.heartbeat(), protocol.UnknownMemberID)
		want(t, "stranger's sync", stranger.sync(), protocol.UnknownMemberID)
		want(t, "stranger's commit", stranger.commit("orders", 0, 1), protocol.UnknownMemberID)
		want(t, "stranger's leave", stranger.leave(), protocol.UnknownMemberID)
		anonymous := b.consumer()
		want(t, "commit from outside of an active group", anonymous.commit("orders", 0, 1), protocol.UnknownMemberID)
	})
}
