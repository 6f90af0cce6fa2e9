package group

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

func TestAStaticMemberComesBack(t *testing.T) {
	tests := []struct {
		name    string
		leader  bool  // it is the leader who restarts
		version int16 // of its JoinGroup
	}{
		{"follower", false, 7},
		{"follower, v9", false, 9},
		{"leader", true, 7},
		{"leader, v9", true, 9},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, nil, func(t *testing.T, b *broker) {
				first, second := b.static("one"), b.static("two")
				join(t, first, second)
				old, other := first, second
				if tt.leader != (first.leader == first.id) {
					old, other = second, first
				}
				reborn := b.static(*old.instance)
				reborn.version = tt.version
				resp := b.JoinGroup(t.Context(), reborn.joinRequest(), ClientInfo{ID: "c", Host: "h"})
				want(t, "join", protocol.ErrorCode(resp.ErrorCode), protocol.None)
				reborn.id, reborn.generation = resp.MemberID, resp.Generation
				b.wantState(stable)
				if reborn.id == old.id || reborn.generation != old.generation {
					t.Errorf("reborn as %s in generation %d, was %s in %d", reborn.id, reborn.generation, old.id, old.generation)
				}
				if skips := tt.leader && tt.version >= 9; resp.SkipAssignment != skips || (resp.LeaderID == reborn.id) != skips {
					t.Errorf("leader %s, skip %v: the member must not assign again", resp.LeaderID, resp.SkipAssignment)
				}
				want(t, "sync", reborn.sync(), protocol.None)
				if reborn.assignment != "for "+old.id {
					t.Errorf("assigned %q, want what its former self had", reborn.assignment)
				}
				want(t, "heartbeat of the other", other.heartbeat(), protocol.None)
				want(t, "heartbeat of the former self", old.heartbeat(), protocol.FencedInstanceID)
				want(t, "commit of the former self", old.commit("orders", 0, 1), protocol.FencedInstanceID)
				want(t, "sync of the former self", old.sync(), protocol.FencedInstanceID)
				want(t, "rejoin of the former self", old.join(), protocol.FencedInstanceID)
				want(t, "commit", reborn.commit("orders", 0, 1), protocol.None)

				b.failover()
				want(t, "heartbeat after failover", reborn.heartbeat(), protocol.None)
				want(t, "heartbeat of the former self after failover", old.heartbeat(), protocol.FencedInstanceID)
			})
		})
	}
}

// If the newcomer changes what the group agrees on, the group has to agree again.
func TestAStaticMemberComesBackChanged(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second := b.static("one"), b.static("two")
		first.protocols, second.protocols = []string{"a", "b"}, []string{"a", "b"}
		join(t, first, second)
		reborn := b.static("one")
		reborn.protocols = []string{"c"}
		want(t, "a protocol that not all support", reborn.join(), protocol.InconsistentGroupProtocol)
		reborn.protocols = []string{"b"}
		joining := begin(reborn.join)
		waits(t, "join", joining)
		want(t, "rejoin", second.join(), protocol.None)
		want(t, "join", <-joining, protocol.None)
		if reborn.generation != 2 {
			t.Errorf("generation %d, want 2", reborn.generation)
		}
		syncAll(t, reborn, second)
	})
}

func TestAStaticMemberFencesItsFormerSelf(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		old := b.static("one")
		joining := begin(old.join)
		reborn := b.static("one")
		again := begin(reborn.join)
		want(t, "join of the former self", <-joining, protocol.FencedInstanceID)
		want(t, "join", <-again, protocol.None)
		syncAll(t, reborn)
	})
}

// A static member keeps its place while it is away, until its session ends.
func TestAStaticMemberMayBeAway(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		first, second := b.static("one"), b.static("two")
		join(t, first, second)
		time.Sleep(session - time.Second)
		want(t, "heartbeat", first.heartbeat(), protocol.None)
		want(t, "heartbeat", second.heartbeat(), protocol.None)
		time.Sleep(session - time.Second)
		want(t, "heartbeat", first.heartbeat(), protocol.None)
		time.Sleep(2 * time.Second)
		want(t, "heartbeat after the other's session", first.heartbeat(), protocol.RebalanceInProgress)
	})
}

func TestLeave(t *testing.T) {
	tests := []struct {
		name     string
		member   string // "one" and "two" are replaced by the ids of these instances
		instance *string
		want     protocol.ErrorCode
	}{
		{"by member id", "one", nil, protocol.None},
		{"by both", "one", new("one"), protocol.None},
		{"by instance alone", "", new("one"), protocol.None},
		{"another's instance", "one", new("two"), protocol.FencedInstanceID},
		{"no such instance", "", new("three"), protocol.UnknownMemberID},
		{"no such member", "three", nil, protocol.UnknownMemberID},
		{"nobody", "", nil, protocol.UnknownMemberID},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, nil, func(t *testing.T, b *broker) {
				one, two := b.static("one"), b.static("two")
				join(t, one, two)
				ids := map[string]string{"one": one.id, "two": two.id, "three": "three"}
				req := kmsg.NewPtrLeaveGroupRequest()
				req.Version, req.Group = 3, "g"
				req.Members = []kmsg.LeaveGroupRequestMember{
					{MemberID: "stranger"},
					{MemberID: ids[tt.member], InstanceID: tt.instance},
				}
				resp := b.LeaveGroup(t.Context(), req)
				want(t, "stranger", protocol.ErrorCode(resp.Members[0].ErrorCode), protocol.UnknownMemberID)
				want(t, "member", protocol.ErrorCode(resp.Members[1].ErrorCode), tt.want)
				left := 2
				if tt.want == protocol.None {
					left = 1
				}
				if got := len(b.describe("g").Members); got != left {
					t.Errorf("%d members are left, want %d", got, left)
				}
			})
		})
	}
}
