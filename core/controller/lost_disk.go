package controller

import (
	"fmt"
	"slices"
	"strings"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// maxNamed bounds the partitions that a refusal names.
const maxNamed = 5

// forgetLostDisk prepares for a broker that comes back with another disk: it is in
// sync with nothing any more, whatever the metadata says, and as a leader it would
// have the others cut off what was acknowledged. So it leaves every ISR.
//
// Where it is the last of an ISR nobody else is known to have every record. It is
// refused then, and somebody has to decide what is to be lost.
func (r *round) forgetLostDisk(rec metadata.RegisterBrokerRecord) error {
	b, ok := r.delta.Broker(rec.ID)
	if !ok || b.Replica == 0 || rec.Replica == b.Replica {
		return nil
	}
	var changes []metadata.PartitionChangeRecord
	var last []string
	for topic := range r.delta.Topics() {
		for n, p := range topic.Partitions {
			switch {
			case !slices.Contains(p.ISR, rec.ID):
			case len(p.ISR) == 1:
				last = append(last, partitionName(topic.Name, n))
			default:
				changes = append(changes, withoutReplica(topic.ID, int32(n), p, rec.ID))
			}
		}
	}
	if len(last) > 0 {
		slices.Sort(last)
		return protocol.Errorf(protocol.IneligibleReplica, "broker %d comes back without its data, and nobody else is known to have every record of %s: find its data directory, or give the records up, by unclean.leader.election.enable=true on a topic whose other replicas may lead with what they have, or by deleting a topic", rec.ID, named(last))
	}
	for _, change := range changes {
		if err := r.commit(change); err != nil {
			return err
		}
	}
	r.t.c.log.Warn("broker lost its disk", "broker", rec.ID, "replica", rec.Replica, "before", b.Replica, "partitions", len(changes))
	return nil
}

// withoutReplica takes a replica out of an ISR that has others. Who leads instead
// is decided afterwards.
func withoutReplica(topic metadata.UUID, partition int32, p *metadata.Partition, id int32) metadata.PartitionChangeRecord {
	rec := metadata.PartitionChangeRecord{TopicID: topic, Partition: partition}
	rec.ISR = slices.DeleteFunc(slices.Clone(p.ISR), func(member int32) bool { return member == id })
	if p.Leader == id {
		rec.Leader = new(metadata.NoLeader)
	}
	return rec
}

func partitionName(topic string, partition int) string { return fmt.Sprintf("%s-%d", topic, partition) }

// named lists some of the partitions, and says how many there are.
func named(partitions []string) string {
	if extra := len(partitions) - maxNamed; extra > 0 {
		return fmt.Sprintf("%s and %d more partitions", strings.Join(partitions[:maxNamed], ", "), extra)
	}
	return strings.Join(partitions, ", ")
}
