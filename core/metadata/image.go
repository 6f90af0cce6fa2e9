package metadata

import (
	"iter"

	"github.com/quorate/quorate/consensus"
)

// UUID is a topic id, a directory id or a broker's incarnation.
type UUID [16]byte

// NoLeader is the leader of a partition that has none.
const NoLeader int32 = -1

// Image is the cluster's metadata at one index of the metadata log. It is never
// changed after it was published; readers keep it as long as they like.
type Image struct {
	// Index and Term are of the last entry that was applied, void and internal
	// entries included.
	Index, Term uint64
	// Gate is the envelope state; it belongs to the replicated state.
	Gate consensus.Gate

	ClusterID string

	brokers map[int32]*Broker
	topics  map[UUID]*Topic
	names   map[string]*Topic
	configs map[ConfigResource]map[string]string

	// NextProducerID is the first producer id that no broker was given yet.
	NextProducerID int64
	// NextBrokerEpoch is the epoch that the next registration gets.
	NextBrokerEpoch int64
	// NextReplicaID is the first id that no replica of the metadata log had yet,
	// as far as brokers have registered; ids are never used again (rule M1).
	NextReplicaID uint64
}

// Broker is a registered broker.
type Broker struct {
	ID          int32
	Epoch       int64 // of this registration; grows with each one in the cluster
	Incarnation UUID  // of the broker's process
	Rack        string
	Listeners   []Endpoint // for clients
	Cluster     Endpoint   // for brokers
	// Fenced brokers lead nothing and are not shown to clients.
	Fenced               bool
	InControlledShutdown bool
	// Replica is the broker's replica of the metadata log, 0 if it was not told. It
	// names the disk, too: a broker that lost its disk comes back with another one,
	// and with none of its partitions.
	Replica uint64
}

// Endpoint is a listener as clients or brokers dial it.
type Endpoint struct {
	Name     string // of the listener: "clients"
	Host     string
	Port     int32
	Security string // PLAINTEXT or SSL
}

// Topic is a topic. Its Partitions are dense: the index is the partition.
type Topic struct {
	Name       string
	ID         UUID
	Partitions []*Partition
}

// Partition is who holds a partition, and who leads it.
type Partition struct {
	Replicas, ISR  []int32
	Leader         int32 // NoLeader if there is none
	LeaderEpoch    int32 // grows with every change of leader, also to none
	PartitionEpoch int32 // grows with every change
	// Adding and Removing are replicas that come and go in the reassignment that is
	// under way (KIP-455). Both are among Replicas, and empty if there is none.
	Adding, Removing []int32
}

// ConfigResource is what a configuration belongs to.
type ConfigResource struct {
	Type ResourceType
	Name string // of the topic; the broker's id, or "" for all brokers
}

// ResourceType is Kafka's resource type.
type ResourceType int8

// The resource types that have configurations, numbered as on the wire.
const (
	TopicResource  ResourceType = 2
	BrokerResource ResourceType = 4
)

// Broker returns a registered broker, fenced or not.
func (i *Image) Broker(id int32) (*Broker, bool) {
	b, ok := i.brokers[id]
	return b, ok
}

// Brokers yields every registered broker, in no order.
func (i *Image) Brokers() iter.Seq[*Broker] {
	return func(yield func(*Broker) bool) {
		for _, b := range i.brokers {
			if !yield(b) {
				return
			}
		}
	}
}

// Topic returns a topic by name.
func (i *Image) Topic(name string) (*Topic, bool) {
	t, ok := i.names[name]
	return t, ok
}

// TopicByID returns a topic by id.
func (i *Image) TopicByID(id UUID) (*Topic, bool) {
	t, ok := i.topics[id]
	return t, ok
}

// Topics yields every topic, in no order.
func (i *Image) Topics() iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, t := range i.topics {
			if !yield(t) {
				return
			}
		}
	}
}

// Partition returns a partition, or nil.
func (i *Image) Partition(id UUID, partition int32) *Partition {
	t, ok := i.topics[id]
	if !ok || partition < 0 || int(partition) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[partition]
}

// LeaderFor returns who leads a partition and in which epoch; ok is false if
// there is no such partition. It is what a produce or fetch to the wrong broker
// is answered from.
func (i *Image) LeaderFor(topic string, partition int32) (leader, epoch int32, ok bool) {
	t, found := i.names[topic]
	if !found || partition < 0 || int(partition) >= len(t.Partitions) {
		return NoLeader, -1, false
	}
	p := t.Partitions[partition]
	return p.Leader, p.LeaderEpoch, true
}

// Config returns the values that were set for a resource, and only those. The
// map must not be changed.
func (i *Image) Config(r ConfigResource) map[string]string {
	return i.configs[r]
}
