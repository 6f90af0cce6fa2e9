package metadata

import (
	"cmp"
	"maps"
	"slices"
)

// firstBrokerEpoch is the epoch of a cluster's first registration. Kafka's
// protocol means "unknown" by -1, and some clients mean it by 0.
const firstBrokerEpoch = 1

// Empty returns the image of an empty log.
func Empty() *Image {
	return &Image{NextBrokerEpoch: firstBrokerEpoch}
}

// Records returns records that, replayed on Empty, give this image again, all
// epochs and counters included. Index, Term and Gate are not in them: a
// snapshot's header holds those. Two equal images give equal records.
func (i *Image) Records() []Record {
	var records []Record
	if i.ClusterID != "" {
		records = append(records, ClusterRecord{ID: i.ClusterID})
	}
	records = i.appendBrokers(records)
	records = i.appendTopics(records)
	records = i.appendConfigs(records)
	if i.NextProducerID > 0 {
		records = append(records, ProducerIDsRecord{BrokerID: -1, BrokerEpoch: -1, NextProducerID: i.NextProducerID})
	}
	return records
}

func (i *Image) appendBrokers(records []Record) []Record {
	byEpoch := func(a, b *Broker) int { return cmp.Compare(a.Epoch, b.Epoch) }
	for _, b := range slices.SortedFunc(i.Brokers(), byEpoch) {
		records = append(records, RegisterBrokerRecord{
			ID: b.ID, Epoch: b.Epoch, Incarnation: b.Incarnation, Rack: b.Rack, Listeners: b.Listeners,
			Cluster: b.Cluster, Fenced: b.Fenced, InControlledShutdown: b.InControlledShutdown, Replica: b.Replica,
		})
	}
	records = append(records, BrokerEpochRecord{Next: i.NextBrokerEpoch})
	if i.NextReplicaID > 0 {
		records = append(records, ReplicaIDRecord{Next: i.NextReplicaID})
	}
	return records
}

func (i *Image) appendTopics(records []Record) []Record {
	byName := func(a, b *Topic) int { return cmp.Compare(a.Name, b.Name) }
	for _, t := range slices.SortedFunc(i.Topics(), byName) {
		records = append(records, TopicRecord{Name: t.Name, ID: t.ID})
		for n, p := range t.Partitions {
			records = append(records, PartitionRecord{
				TopicID: t.ID, Partition: int32(n), Replicas: p.Replicas, ISR: p.ISR,
				Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
				Adding: p.Adding, Removing: p.Removing,
			})
		}
	}
	return records
}

func (i *Image) appendConfigs(records []Record) []Record {
	order := func(a, b ConfigResource) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	}
	for _, r := range slices.SortedFunc(maps.Keys(i.configs), order) {
		for _, name := range slices.Sorted(maps.Keys(i.configs[r])) {
			records = append(records, ConfigRecord{Resource: r, Name: name, Value: new(i.configs[r][name])})
		}
	}
	return records
}
