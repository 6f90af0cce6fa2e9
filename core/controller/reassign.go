package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// alterPartitionReassignments answers AlterPartitionReassignments (key 45, KIP-455).
//
// The new replicas are added to the old ones, and catch up. Once all of them are in
// sync the old ones go, which reconcile finds out by itself: see reassigned.
func (r *round) alterPartitionReassignments(req *kmsg.AlterPartitionAssignmentsRequest) *kmsg.AlterPartitionAssignmentsResponse {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	mayResize := req.Version < 1 || req.AllowReplicationFactorChange
	for _, topic := range req.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = topic.Topic
		for _, p := range topic.Partitions {
			one := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			one.Partition = p.Partition
			one.ErrorCode, one.ErrorMessage = result(r.reassign(topic.Topic, p, mayResize))
			out.Partitions = append(out.Partitions, one)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.repairAll() // what needs no new replica is done at once
	return resp
}

// reassign begins, changes or, without replicas, cancels the reassignment of a partition.
func (r *round) reassign(topic string, wish kmsg.AlterPartitionAssignmentsRequestTopicPartition, mayResize bool) error {
	t, ok := r.delta.Topic(topic)
	if !ok || wish.Partition < 0 || int(wish.Partition) >= len(t.Partitions) {
		return protocol.Errorf(protocol.UnknownTopicOrPartition, "The topic-partition was not found.")
	}
	p := t.Partitions[wish.Partition]
	original := without(p.Replicas, p.Adding)
	rec := metadata.PartitionChangeRecord{TopicID: t.ID, Partition: wish.Partition}
	if wish.Replicas == nil {
		if len(p.Adding)+len(p.Removing) == 0 {
			return protocol.Errorf(protocol.NoReassignmentInProgress, "There is no reassignment in progress for this partition.")
		}
		return r.settle(rec, p, original)
	}
	if err := r.checkTarget(wish.Replicas, len(original), mayResize); err != nil {
		return err
	}
	removing := without(original, wish.Replicas)
	adding := without(wish.Replicas, original)
	rec.Replicas = slices.Concat(wish.Replicas, removing)
	rec.Reassignment = &metadata.Reassignment{Adding: adding, Removing: removing}
	// Those that an earlier reassignment was adding, and this one does not want, go now.
	return r.shrinkTo(rec, p)
}

// checkTarget tells why a partition may not be put on these replicas.
func (r *round) checkTarget(replicas []int32, size int, mayResize bool) error {
	if len(replicas) == 0 {
		return protocol.Errorf(protocol.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	for n, id := range replicas {
		if _, ok := r.delta.Broker(id); !ok {
			return protocol.Errorf(protocol.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if slices.Contains(replicas[:n], id) {
			return protocol.Errorf(protocol.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if !mayResize && len(replicas) != size {
		return protocol.Errorf(protocol.InvalidReplicationFactor, "The replication factor is changed from %d to %d.", size, len(replicas))
	}
	return nil
}

// settle ends a reassignment with these replicas.
func (r *round) settle(rec metadata.PartitionChangeRecord, p *metadata.Partition, replicas []int32) error {
	rec.Replicas, rec.Reassignment = replicas, &metadata.Reassignment{}
	return r.shrinkTo(rec, p)
}

// shrinkTo commits rec, with an ISR and a leader among its replicas. It is refused if
// nobody who is in sync would be left.
func (r *round) shrinkTo(rec metadata.PartitionChangeRecord, p *metadata.Partition) error {
	isr := slices.DeleteFunc(slices.Clone(p.ISR), func(id int32) bool { return !slices.Contains(rec.Replicas, id) })
	if len(isr) == 0 {
		return protocol.Errorf(protocol.InvalidReplicaAssignment, "None of the replicas %v has every record of the partition; %v have.", rec.Replicas, p.ISR)
	}
	if !slices.Equal(isr, p.ISR) {
		rec.ISR = isr
	}
	if p.Leader != metadata.NoLeader && !slices.Contains(isr, p.Leader) {
		rec.Leader = new(r.nextLeader(rec.Replicas, isr))
	}
	return r.commit(rec)
}

// nextLeader is the first replica that is in sync and up, or none.
func (r *round) nextLeader(replicas, isr []int32) int32 {
	for _, id := range replicas {
		if slices.Contains(isr, id) && up(r.delta, id) {
			return id
		}
	}
	return metadata.NoLeader
}

// finishReassignments ends every reassignment whose new replicas are all in sync, and
// whose old ones can go.
func (r *round) finishReassignments() {
	var changes []metadata.PartitionChangeRecord
	for topic := range r.delta.Topics() {
		for n, p := range topic.Partitions {
			if len(p.Adding)+len(p.Removing) == 0 || !r.reassigned(p) {
				continue
			}
			rec := metadata.PartitionChangeRecord{TopicID: topic.ID, Partition: int32(n)}
			rec.Replicas, rec.Reassignment = without(p.Replicas, p.Removing), &metadata.Reassignment{}
			if isr := without(p.ISR, p.Removing); !slices.Equal(isr, p.ISR) {
				rec.ISR = isr
			}
			if p.Leader != metadata.NoLeader && slices.Contains(p.Removing, p.Leader) {
				rec.Leader = new(r.nextLeader(rec.Replicas, without(p.ISR, p.Removing)))
			}
			changes = append(changes, rec)
		}
	}
	for _, rec := range changes {
		r.must(rec)
	}
}

// reassigned tells whether all that are to be added are in sync, and somebody who
// stays could lead.
func (r *round) reassigned(p *metadata.Partition) bool {
	for _, id := range p.Adding {
		if !slices.Contains(p.ISR, id) {
			return false
		}
	}
	staying := without(p.ISR, p.Removing)
	return r.nextLeader(staying, staying) != metadata.NoLeader
}

// without returns ids less those in others, in order, in memory of its own.
func without(ids, others []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return slices.Contains(others, id) })
}

// unregisterBroker answers UnregisterBroker (key 64, KIP-500): a broker that is gone
// for good is forgotten. One that is alive would only register again, and one that
// has replicas would take them with it: both are refused.
func (r *round) unregisterBroker(req *kmsg.UnregisterBrokerRequest) *kmsg.UnregisterBrokerResponse {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	resp.ErrorCode, resp.ErrorMessage = result(r.unregister(req.BrokerID))
	return resp
}

func (r *round) unregister(id int32) error {
	b, ok := r.delta.Broker(id)
	if !ok {
		return protocol.Errorf(protocol.BrokerIDNotRegistered, "Broker %d is not registered.", id)
	}
	if !b.Fenced {
		return protocol.Errorf(protocol.InvalidRequest, "Broker %d is alive: stop it first.", id)
	}
	var held []string
	for topic := range r.delta.Topics() {
		for n, p := range topic.Partitions {
			if slices.Contains(p.Replicas, id) {
				held = append(held, partitionName(topic.Name, n))
			}
		}
	}
	if len(held) > 0 {
		slices.Sort(held)
		return protocol.Errorf(protocol.InvalidRequest, "Broker %d has replicas of %s: reassign them first.", id, named(held))
	}
	r.t.c.log.Info("broker unregistered", "broker", id, "epoch", b.Epoch)
	return r.commit(metadata.UnregisterBrokerRecord{ID: id, Epoch: b.Epoch})
}
