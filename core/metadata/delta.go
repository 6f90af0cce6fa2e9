package metadata

import (
	"fmt"
	"iter"
	"maps"

	"github.com/quorate/quorate/consensus"
)

// Delta is an image being changed. The base image is never touched: what a
// record changes is copied first, each map once and each topic once.
//
// The loader replays committed records on it to get the next image; the
// controller replays records that it has decided but not committed, so that the
// next decision sees them. Both run Replay and only Replay.
//
// A Delta belongs to one goroutine.
type Delta struct {
	next  Image
	owned owned
}

// owned says which parts of next are the delta's own copies.
type owned struct {
	brokers, topics, configs bool
	topic                    map[UUID]bool
	config                   map[ConfigResource]bool
}

// NewDelta returns a delta that changes nothing of base yet.
func NewDelta(base *Image) *Delta {
	return &Delta{next: *base}
}

// Image returns what the delta has become, as of the given log position. The
// delta may go on; it copies again what it changes then.
func (d *Delta) Image(index, term uint64, gate consensus.Gate) *Image {
	d.next.Index, d.next.Term, d.next.Gate = index, term, gate
	d.owned = owned{}
	return new(d.next)
}

// Replay applies one record. It returns an error only if the record cannot
// follow the ones before it: the log is corrupt or a writer is broken, so the
// caller stops the broker instead of skipping the record. The delta is of no use
// after an error.
func (d *Delta) Replay(rec Record) error {
	switch rec := rec.(type) {
	case ClusterRecord:
		return d.replayCluster(rec)
	case RegisterBrokerRecord:
		return d.replayRegisterBroker(rec)
	case BrokerChangeRecord:
		return d.replayBrokerChange(rec)
	case UnregisterBrokerRecord:
		return d.replayUnregisterBroker(rec)
	case BrokerEpochRecord:
		return d.replayBrokerEpoch(rec)
	case ReplicaIDRecord:
		return d.replayReplicaID(rec)
	case TopicRecord:
		return d.replayTopic(rec)
	case PartitionRecord:
		return d.replayPartition(rec)
	case PartitionChangeRecord:
		return d.replayPartitionChange(rec)
	case RemoveTopicRecord:
		return d.replayRemoveTopic(rec)
	case ConfigRecord:
		return d.replayConfig(rec)
	case ProducerIDsRecord:
		return d.replayProducerIDs(rec)
	default:
		return fmt.Errorf("replay: unknown record %T", rec)
	}
}

// ReplayAll applies records in order, up to the first error.
func (d *Delta) ReplayAll(records []Record) error {
	for _, rec := range records {
		if err := d.Replay(rec); err != nil {
			return err
		}
	}
	return nil
}

// mutableBrokers returns the delta's own map of brokers.
func (d *Delta) mutableBrokers() map[int32]*Broker {
	if !d.owned.brokers {
		d.next.brokers, d.owned.brokers = clone(d.next.brokers), true
	}
	return d.next.brokers
}

// mutableTopics makes both maps of topics the delta's own.
func (d *Delta) mutableTopics() {
	if d.owned.topics {
		return
	}
	d.next.topics, d.next.names = clone(d.next.topics), clone(d.next.names)
	d.owned.topics, d.owned.topic = true, map[UUID]bool{}
}

// mutableTopic returns the delta's own copy of a topic, or nil.
func (d *Delta) mutableTopic(id UUID) *Topic {
	t, ok := d.next.topics[id]
	if !ok {
		return nil
	}
	d.mutableTopics()
	if d.owned.topic[id] {
		return t
	}
	t = &Topic{Name: t.Name, ID: t.ID, Partitions: append([]*Partition(nil), t.Partitions...)}
	d.putTopic(t)
	return t
}

// putTopic stores a topic that is the delta's own.
func (d *Delta) putTopic(t *Topic) {
	d.mutableTopics()
	d.next.topics[t.ID], d.next.names[t.Name] = t, t
	d.owned.topic[t.ID] = true
}

func (d *Delta) mutableConfigs() {
	if !d.owned.configs {
		d.next.configs = clone(d.next.configs)
		d.owned.configs, d.owned.config = true, map[ConfigResource]bool{}
	}
}

// mutableConfig returns the delta's own values of a resource.
func (d *Delta) mutableConfig(r ConfigResource) map[string]string {
	d.mutableConfigs()
	if !d.owned.config[r] {
		d.next.configs[r], d.owned.config[r] = clone(d.next.configs[r]), true
	}
	return d.next.configs[r]
}

// clone is maps.Clone that makes a map of none.
func clone[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// ClusterID returns the cluster's id, or "".
func (d *Delta) ClusterID() string { return d.next.ClusterID }

// NextBrokerEpoch returns the epoch that the next registration gets.
func (d *Delta) NextBrokerEpoch() int64 { return d.next.NextBrokerEpoch }

// NextReplicaID is Image.NextReplicaID.
func (d *Delta) NextReplicaID() uint64 { return d.next.NextReplicaID }

// NextProducerID returns the first producer id that no broker was given yet.
func (d *Delta) NextProducerID() int64 { return d.next.NextProducerID }

// Broker is Image.Broker.
func (d *Delta) Broker(id int32) (*Broker, bool) { return d.next.Broker(id) }

// Brokers is Image.Brokers.
func (d *Delta) Brokers() iter.Seq[*Broker] { return d.next.Brokers() }

// Topic is Image.Topic.
func (d *Delta) Topic(name string) (*Topic, bool) { return d.next.Topic(name) }

// TopicByID is Image.TopicByID.
func (d *Delta) TopicByID(id UUID) (*Topic, bool) { return d.next.TopicByID(id) }

// Topics is Image.Topics.
func (d *Delta) Topics() iter.Seq[*Topic] { return d.next.Topics() }

// Partition is Image.Partition.
func (d *Delta) Partition(id UUID, partition int32) *Partition {
	return d.next.Partition(id, partition)
}

// Config is Image.Config.
func (d *Delta) Config(r ConfigResource) map[string]string { return d.next.Config(r) }

// TopicConfig is Image.TopicConfig.
func (d *Delta) TopicConfig(topic string, defaults BrokerDefaults) TopicConfig {
	return d.next.TopicConfig(topic, defaults)
}
