package controller

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

func TestReassign(t *testing.T) {
	moving := func(leader int32, isr []int32, adding, removing []int32, replicas ...int32) metadata.PartitionRecord {
		p := on(leader, isr, replicas...)
		p.Adding, p.Removing = adding, removing
		return p
	}
	type ids = []int32
	tests := []struct {
		name    string
		before  metadata.PartitionRecord
		replica []int32 // the wish; nil cancels
		resize  bool
		fenced  int32
		want    protocol.ErrorCode
		after   metadata.PartitionRecord
	}{
		{name: "one for another", before: on(1, ids{1, 2, 3}, 1, 2, 3), replica: ids{4, 2, 3}, after: moving(1, ids{1, 2, 3}, ids{4}, ids{1}, 4, 2, 3, 1)},
		{name: "all", before: on(1, ids{1, 2}, 1, 2), replica: ids{3, 4}, after: moving(1, ids{1, 2}, ids{3, 4}, ids{1, 2}, 3, 4, 1, 2)},
		{name: "one more", before: on(1, ids{1, 2}, 1, 2), replica: ids{1, 2, 3}, resize: true, after: moving(1, ids{1, 2}, ids{3}, nil, 1, 2, 3)},
		{name: "one less is done at once", before: on(3, ids{1, 2, 3}, 1, 2, 3), replica: ids{2, 1}, resize: true, after: on(2, ids{1, 2}, 2, 1)},
		{name: "the order only", before: on(1, ids{1, 2}, 1, 2), replica: ids{2, 1}, after: on(1, ids{1, 2}, 2, 1)},
		{name: "another target", before: moving(1, ids{1, 2, 3}, ids{3}, ids{1}, 3, 2, 1), replica: ids{4, 2}, after: moving(1, ids{1, 2}, ids{4}, ids{1}, 4, 2, 1)},
		{name: "back again", before: moving(3, ids{1, 2, 3}, ids{3, 4}, ids{1}, 3, 4, 2, 1), replica: nil, after: on(2, ids{1, 2}, 2, 1)},
		{name: "not resized unless it is meant", before: on(1, ids{1, 2}, 1, 2), replica: ids{1}, want: protocol.InvalidReplicationFactor},
		{name: "an unknown broker", before: on(1, ids{1, 2}, 1, 2), replica: ids{1, 9}, want: protocol.InvalidReplicaAssignment},
		{name: "twice the same", before: on(1, ids{1, 2}, 1, 2), replica: ids{1, 1}, want: protocol.InvalidReplicaAssignment},
		{name: "nobody", before: on(1, ids{1, 2}, 1, 2), replica: ids{}, want: protocol.InvalidReplicaAssignment},
		{name: "nothing to cancel", before: on(1, ids{1, 2}, 1, 2), replica: nil, want: protocol.NoReassignmentInProgress},
		{name: "what is left has not everything", before: moving(3, ids{3}, ids{3, 4}, nil, 3, 4, 2), replica: nil, want: protocol.InvalidReplicaAssignment},
		{name: "it waits for somebody in sync who is up", before: on(1, ids{1, 2}, 1, 2), replica: ids{2}, resize: true, fenced: 2, after: moving(1, ids{1}, nil, ids{1}, 2, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := append(brokerRecords(4), topicRecords("orders", orders, tt.before)...)
			if tt.fenced != 0 {
				records = append(records, fence(tt.fenced))
			}
			r := testRound(image(t, records...))
			req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			req.Version, req.AllowReplicationFactorChange = 1, tt.resize
			req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "orders", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: tt.replica}}}}
			got := r.alterPartitionReassignments(req).Topics[0].Partitions[0]
			if code(got.ErrorCode) != tt.want {
				t.Fatalf("got %v, want %v", code(got.ErrorCode), tt.want)
			}
			if tt.want != protocol.None {
				wantRecords(t, r)
				return
			}
			wantPartition(t, r, tt.after)
		})
	}
}

// When those that are added are in sync, the others go: also those that led.
func TestReassignmentEnds(t *testing.T) {
	p := on(1, []int32{1, 2, 3, 4}, 4, 3, 1, 2)
	p.Adding, p.Removing = []int32{4, 3}, []int32{1, 2}
	half := p
	half.ISR = []int32{1, 2, 3}
	tests := []struct {
		name   string
		before metadata.PartitionRecord
		fenced []int32
		after  metadata.PartitionRecord
	}{
		{name: "all there", before: p, after: on(4, []int32{3, 4}, 4, 3)},
		{name: "one lags", before: half, after: half},
		{name: "the new leader is the first that is up", before: p, fenced: []int32{4}, after: metadata.PartitionRecord{
			Replicas: p.Replicas, ISR: []int32{1, 2, 3}, Leader: 1, Adding: p.Adding, Removing: p.Removing,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := append(brokerRecords(4), topicRecords("orders", orders, tt.before)...)
			for _, id := range tt.fenced {
				records = append(records, fence(id))
			}
			r := testRound(image(t, records...))
			r.repairAll()
			wantPartition(t, r, tt.after)
		})
	}
}

func wantPartition(t *testing.T, r *round, want metadata.PartitionRecord) {
	t.Helper()
	p := r.delta.Partition(orders, 0)
	isr := slices.Sorted(slices.Values(p.ISR))
	if !slices.Equal(p.Replicas, want.Replicas) || !slices.Equal(isr, want.ISR) || p.Leader != want.Leader ||
		!slices.Equal(p.Adding, want.Adding) || !slices.Equal(p.Removing, want.Removing) {
		t.Errorf("got  %+v\nwant %+v", *p, want)
	}
}

func TestUnregisterBroker(t *testing.T) {
	tests := []struct {
		name   string
		id     int32
		fenced []int32
		want   protocol.ErrorCode
	}{
		{name: "gone, and without replicas", id: 3, fenced: []int32{3}},
		{name: "alive", id: 3, want: protocol.InvalidRequest},
		{name: "with replicas", id: 2, fenced: []int32{2}, want: protocol.InvalidRequest},
		{name: "unknown", id: 9, want: protocol.BrokerIDNotRegistered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := append(brokerRecords(3), topicRecords("orders", orders, on(1, []int32{1, 2}, 1, 2))...)
			for _, id := range tt.fenced {
				records = append(records, fence(id))
			}
			r := testRound(image(t, records...))
			resp := r.unregisterBroker(&kmsg.UnregisterBrokerRequest{BrokerID: tt.id})
			if code(resp.ErrorCode) != tt.want {
				t.Fatalf("got %v, want %v", code(resp.ErrorCode), tt.want)
			}
			if _, known := r.delta.Broker(tt.id); known && tt.want == protocol.None {
				t.Error("it is still registered")
			}
		})
	}
}
