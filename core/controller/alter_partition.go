package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// alterPartition answers AlterPartition (key 56, KIP-497, KIP-841, KIP-903): a
// leader's wish for another ISR. It is granted only to the leader of the current
// leader epoch, on the current partition epoch, and only with members that are
// up and of the registration that the leader knows. Nobody joins without one.
func (r *round) alterPartition(req *kmsg.AlterPartitionRequest) *kmsg.AlterPartitionResponse {
	resp := kmsg.NewPtrAlterPartitionResponse()
	if _, err := brokerOfEpoch(r.delta, req.BrokerID, req.BrokerEpoch); err != nil {
		resp.ErrorCode, _ = result(err)
		return resp
	}
	for _, topic := range req.Topics {
		out := kmsg.NewAlterPartitionResponseTopic()
		out.Topic, out.TopidID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			out.Partitions = append(out.Partitions, r.alterOne(req.BrokerID, topic.TopicID, p))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (r *round) alterOne(leader int32, topic metadata.UUID, wish kmsg.AlterPartitionRequestTopicPartition) kmsg.AlterPartitionResponseTopicPartition {
	out := kmsg.NewAlterPartitionResponseTopicPartition()
	out.Partition, out.LeaderID = wish.Partition, metadata.NoLeader
	members := wishedISR(wish)
	err := checkISR(r.delta, leader, topic, wish, members)
	if err == nil {
		isr := make([]int32, len(members))
		for n, m := range members {
			isr[n] = m.BrokerID
		}
		err = r.commit(metadata.PartitionChangeRecord{TopicID: topic, Partition: wish.Partition, ISR: isr})
	}
	out.ErrorCode, _ = result(err)
	if p := r.delta.Partition(topic, wish.Partition); p != nil {
		out.LeaderID, out.LeaderEpoch, out.ISR, out.PartitionEpoch = p.Leader, p.LeaderEpoch, p.ISR, p.PartitionEpoch
	}
	return out
}

// wishedISR returns the ISR of either form of the request; before version 3 it
// has no epochs.
func wishedISR(wish kmsg.AlterPartitionRequestTopicPartition) []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR {
	members := wish.NewEpochISR
	for _, id := range wish.NewISR {
		m := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
		m.BrokerID, m.BrokerEpoch = id, -1
		members = append(members, m)
	}
	return members
}

// checkISR tells why a leader may not have its wish. Epochs beyond ours mean that
// the leader has heard from a later controller than this one.
func checkISR(d *metadata.Delta, leader int32, topic metadata.UUID, wish kmsg.AlterPartitionRequestTopicPartition, members []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) error {
	if _, ok := d.TopicByID(topic); !ok {
		return protocol.Errorf(protocol.UnknownTopicID, "no topic %s", topic)
	}
	p := d.Partition(topic, wish.Partition)
	switch {
	case p == nil:
		return protocol.Errorf(protocol.UnknownTopicOrPartition, "no partition %s-%d", topic, wish.Partition)
	case wish.LeaderEpoch > p.LeaderEpoch || wish.PartitionEpoch > p.PartitionEpoch:
		return protocol.Errorf(protocol.NotController, "epochs %d, %d are ahead of %d, %d", wish.LeaderEpoch, wish.PartitionEpoch, p.LeaderEpoch, p.PartitionEpoch)
	case wish.LeaderEpoch < p.LeaderEpoch:
		return protocol.Errorf(protocol.FencedLeaderEpoch, "leader epoch %d, it is %d", wish.LeaderEpoch, p.LeaderEpoch)
	case leader != p.Leader:
		return protocol.Errorf(protocol.InvalidRequest, "broker %d is not the leader, %d is", leader, p.Leader)
	case wish.PartitionEpoch < p.PartitionEpoch:
		return protocol.Errorf(protocol.InvalidUpdateVersion, "partition epoch %d, it is %d", wish.PartitionEpoch, p.PartitionEpoch)
	}
	return checkMembers(d, p, members)
}

func checkMembers(d *metadata.Delta, p *metadata.Partition, members []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) error {
	hasLeader := false
	for n, m := range members {
		same := func(o kmsg.AlterPartitionRequestTopicPartitionNewEpochISR) bool { return o.BrokerID == m.BrokerID }
		if !slices.Contains(p.Replicas, m.BrokerID) || slices.ContainsFunc(members[:n], same) {
			return protocol.Errorf(protocol.InvalidRequest, "isr member %d, replicas %v", m.BrokerID, p.Replicas)
		}
		hasLeader = hasLeader || m.BrokerID == p.Leader
	}
	if !hasLeader {
		return protocol.Errorf(protocol.InvalidRequest, "the isr lacks its leader %d", p.Leader)
	}
	for _, m := range members {
		b, ok := d.Broker(m.BrokerID)
		stays := m.BrokerEpoch == -1 && slices.Contains(p.ISR, m.BrokerID) // a new leader has not heard from it yet
		if !ok || !up(d, m.BrokerID) || m.BrokerEpoch != b.Epoch && !stays {
			return protocol.Errorf(protocol.IneligibleReplica, "broker %d is fenced, leaving or another process than epoch %d", m.BrokerID, m.BrokerEpoch)
		}
	}
	return nil
}
