package group

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

var quiet = slog.New(slog.DiscardHandler)

func TestListGroups(t *testing.T) {
	tests := []struct {
		name          string
		states, types []string
		want          []string
	}{
		{"all", nil, nil, []string{"g stable-group Stable consumer", "simple Empty "}},
		{"by state", []string{"stable"}, nil, []string{"g stable-group Stable consumer"}},
		{"by several states", []string{"Dead", "Empty"}, nil, []string{"simple Empty "}},
		{"by no such state", []string{"Confused"}, nil, nil},
		{"by type", nil, []string{"Classic"}, []string{"g stable-group Stable consumer", "simple Empty "}},
		{"by another type", nil, []string{"consumer"}, nil},
	}
	scenario(t, nil, func(t *testing.T, b *broker) {
		c := b.consumer()
		c.group = "g stable-group"
		join(t, c)
		simple := b.consumer()
		simple.group = "simple"
		want(t, "commit", simple.commit("orders", 0, 1), protocol.None)
		want(t, "an id given out", b.consumer().joinOnce(), protocol.MemberIDRequired)
		for _, tt := range tests {
			req := kmsg.NewPtrListGroupsRequest()
			req.Version, req.StatesFilter, req.TypesFilter = 5, tt.states, tt.types
			var got []string
			for _, g := range b.ListGroups(t.Context(), req).Groups {
				if g.Group != "g" { // has no members yet, and is listed as empty
					got = append(got, fmt.Sprint(g.Group, " ", g.GroupState, " ", g.ProtocolType))
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
			}
		}
		b.topic.Depose(0)
		synctest.Wait()
		if resp := b.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest()); resp.ErrorCode != 0 || len(resp.Groups) != 0 {
			t.Errorf("another leads: got %+v, want nothing and no error", resp)
		}
		b.log.Hold()
		b.log.Write(0, groupKey("x"), nil)
		b.topic.Lead(0)
		synctest.Wait()
		resp := b.ListGroups(t.Context(), kmsg.NewPtrListGroupsRequest())
		want(t, "while loading", protocol.ErrorCode(resp.ErrorCode), protocol.CoordinatorLoadInProgress)
	})
}

func TestDescribeGroups(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		if got := b.describe("none"); got.State != "Dead" || got.ErrorCode != 0 {
			t.Errorf("no group: %+v, want state Dead", got)
		}
		c := b.static("one")
		join(t, c)
		got := b.describe("g")
		if got.State != "Stable" || got.ProtocolType != "consumer" || got.Protocol != "range" || len(got.Members) != 1 {
			t.Fatalf("got %+v", got)
		}
		m := got.Members[0]
		if m.MemberID != c.id || *m.InstanceID != "one" || m.ClientID != "client" || m.ClientHost != "127.0.0.1" ||
			string(m.ProtocolMetadata) != "metadata of range" || string(m.MemberAssignment) != "for "+c.id {
			t.Errorf("member %+v", m)
		}
	})
}

func TestDeleteGroups(t *testing.T) {
	scenario(t, nil, func(t *testing.T, b *broker) {
		c := b.consumer()
		join(t, c)
		want(t, "commit", c.commit("orders", 0, 1), protocol.None)
		other := b.consumer()
		other.group = "other"
		want(t, "commit", other.commit("clicks", 0, 1), protocol.None)
		remove := func(group string) protocol.ErrorCode {
			req := kmsg.NewPtrDeleteGroupsRequest()
			req.Groups = []string{group}
			return protocol.ErrorCode(b.DeleteGroups(t.Context(), req).Groups[0].ErrorCode)
		}
		want(t, "with members", remove("g"), protocol.NonEmptyGroup)
		want(t, "no group", remove("none"), protocol.GroupIDNotFound)
		want(t, "leave", c.leave(), protocol.None)
		want(t, "empty", remove("g"), protocol.None)
		want(t, "again", remove("g"), protocol.GroupIDNotFound)
		for range 2 {
			b.wantState(dead)
			b.wantOffsets("g", map[topicPartition]int64{})
			b.wantOffsets("other", map[topicPartition]int64{tp("clicks", 0): 1})
			b.failover()
		}
	})
}

// Kafka's clients and tools compute nothing here, but operators do, and groups of
// a cluster must be found where they are.
func TestPartitionFor(t *testing.T) {
	tests := []struct {
		group string
		want  int32 // of 50; abs(hashCode) as Java has it
	}{
		{"", 0},
		{"a", 47},
		{"test", 48},
		{"console-consumer-1", partitionOfJava("console-consumer-1", 50)},
		{"grüße", partitionOfJava("grüße", 50)},
	}
	for _, tt := range tests {
		if got := partitionFor(tt.group, 50); got != tt.want {
			t.Errorf("%q: partition %d, want %d", tt.group, got, tt.want)
		}
	}
}

// partitionOfJava computes it in another way: exactly, and cut to 32 bits at the end.
func partitionOfJava(s string, partitions int64) int32 {
	var h int64
	for _, r := range s { // characters outside of the basic plane are two in Java
		h = (h*31 + int64(r)) % (1 << 32)
	}
	return int32((h & 0x7fffffff) % partitions)
}
