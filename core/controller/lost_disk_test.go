package controller

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// A broker that comes back with another disk is in no ISR, and leads nothing.
func TestRegisterWithAnotherDisk(t *testing.T) {
	tests := []struct {
		name    string
		replica uint64
		isr     []int32
		leader  int32
		fenced  int32 // besides broker 1, which is down
		want    protocol.ErrorCode
		wantISR []int32
		leads   int32
	}{
		{name: "the same disk", replica: 1, isr: []int32{1, 2, 3}, leader: 1, wantISR: []int32{2, 3}, leads: 2},
		{name: "another disk", replica: 4, isr: []int32{1, 2, 3}, leader: 1, wantISR: []int32{2, 3}, leads: 2},
		{name: "another disk of a follower", replica: 4, isr: []int32{1, 2}, leader: 2, wantISR: []int32{2}, leads: 2},
		{name: "the others are down, too: they alone have the records", replica: 4, isr: []int32{1, 2}, leader: metadata.NoLeader, fenced: 2, wantISR: []int32{2}, leads: metadata.NoLeader},
		{name: "it was the last in sync", replica: 4, isr: []int32{1}, leader: metadata.NoLeader, want: protocol.IneligibleReplica, wantISR: []int32{1}, leads: metadata.NoLeader},
		{name: "it was the last in sync, and has its disk", replica: 1, isr: []int32{1}, leader: metadata.NoLeader, wantISR: []int32{1}, leads: metadata.NoLeader},
		{name: "a disk that is not told", replica: 0, isr: []int32{1, 2, 3}, leader: 1, wantISR: []int32{2, 3}, leads: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := brokerRecords(3)
			for n := 1; n <= 3; n++ {
				rec := records[n].(metadata.RegisterBrokerRecord)
				rec.Replica = uint64(n)
				records[n] = rec
			}
			records = append(records, topicRecords("orders", orders, on(tt.leader, tt.isr, 1, 2, 3))...)
			if tt.fenced != 0 {
				records = append(records, fence(tt.fenced))
			}
			r := testRound(image(t, append(records, fence(1))...))
			r.now = epoch0.Add(time.Second)
			req := kmsg.NewPtrBrokerRegistrationRequest()
			req.BrokerID, req.ClusterID, req.IncarnationID = 1, "test", metadata.UUID{9}
			req.LogDirs = [][16]byte{protocol.DirectoryID(tt.replica)}
			resp, ok := r.registerBroker(req).resp.(*kmsg.BrokerRegistrationResponse)
			if !ok || code(resp.ErrorCode) != tt.want {
				t.Fatalf("got %v, want %v", code(resp.ErrorCode), tt.want)
			}
			if reason := reasonOf(&resp.UnknownTags); (tt.want != protocol.None) != strings.Contains(reason, "orders-0") {
				t.Errorf("reason %q", reason)
			}
			p := r.delta.Partition(orders, 0)
			if !slices.Equal(p.ISR, tt.wantISR) || p.Leader != tt.leads {
				t.Errorf("isr %v, leader %d, want %v, %d", p.ISR, p.Leader, tt.wantISR, tt.leads)
			}
		})
	}
}

// The disk of a replica that was replaced is not let in again.
func TestRegisterWithAnOldDisk(t *testing.T) {
	records := append(brokerRecords(1), metadata.RegisterBrokerRecord{ID: 1, Epoch: 2, Incarnation: metadata.UUID{2}, Replica: 4, Fenced: true})
	r := testRound(image(t, records...))
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID = 1, "test", metadata.UUID{9}
	req.LogDirs = [][16]byte{protocol.DirectoryID(1)}
	resp, ok := r.registerBroker(req).resp.(*kmsg.BrokerRegistrationResponse)
	if !ok || code(resp.ErrorCode) != protocol.InvalidVoterKey || !strings.Contains(reasonOf(&resp.UnknownTags), "cluster/join: true") {
		t.Errorf("got %v, %q", code(resp.ErrorCode), reasonOf(&resp.UnknownTags))
	}
	wantRecords(t, r)
}

func TestReserveReplica(t *testing.T) {
	r := testRound(image(t, brokerRecords(3)...))
	tests := []struct {
		replica uint64
		want    protocol.ErrorCode
		next    uint64
	}{
		{replica: 3, want: protocol.DuplicateVoter, next: 4}, // the first replicas have brokers' ids
		{replica: 4},
		{replica: 4, want: protocol.DuplicateVoter, next: 5},
		{replica: 7},
		{replica: 6, want: protocol.DuplicateVoter, next: 8},
	}
	for _, tt := range tests {
		req := kmsg.NewPtrAddRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID = 1, protocol.DirectoryID(tt.replica)
		resp := r.reserveReplica(req)
		if code(resp.ErrorCode) != tt.want || NextReplica(&resp.UnknownTags) != tt.next {
			t.Errorf("replica %d: got %v, next %d, want %v, %d", tt.replica, code(resp.ErrorCode), NextReplica(&resp.UnknownTags), tt.want, tt.next)
		}
	}
	// An unregistered broker's id stays used.
	if err := r.commit(metadata.UnregisterBrokerRecord{ID: 3, Epoch: 3}); err != nil {
		t.Fatal(err)
	}
	if got := r.delta.NextReplicaID(); got != 8 {
		t.Errorf("next %d, want 8", got)
	}
}
