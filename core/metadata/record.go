package metadata

import "fmt"

// Record is one change of the metadata, as it is decided, committed and
// replayed. The types of this file are all there are. Slices in a record belong
// to the image after it was replayed and must not be changed.
type Record interface{ isRecord() }

// ClusterRecord names the cluster. It is the first record of a log.
type ClusterRecord struct{ ID string }

// RegisterBrokerRecord registers a broker's process, over an earlier
// registration of the same id if there is one.
type RegisterBrokerRecord struct {
	ID          int32
	Epoch       int64 // at least Image.NextBrokerEpoch
	Incarnation UUID
	Rack        string
	Listeners   []Endpoint
	Cluster     Endpoint
	// Fenced is true and InControlledShutdown false except in snapshots.
	Fenced               bool
	InControlledShutdown bool
	Replica              uint64 // of the metadata log; 0 if it was not told
}

// BrokerChangeRecord changes a registration. Nil fields stay as they are.
type BrokerChangeRecord struct {
	ID                   int32
	Epoch                int64 // the current one
	Fenced               *bool
	InControlledShutdown *bool
}

// UnregisterBrokerRecord removes a registration.
type UnregisterBrokerRecord struct {
	ID    int32
	Epoch int64 // the current one
}

// BrokerEpochRecord sets Image.NextBrokerEpoch. It occurs in snapshots only,
// where the newest registration may be gone.
type BrokerEpochRecord struct{ Next int64 }

// ReplicaIDRecord gives the ids of replicas of the metadata log from
// Image.NextReplicaID up to its own to somebody who joins.
type ReplicaIDRecord struct{ Next uint64 }

// TopicRecord creates a topic without partitions. Name and ID are unused.
type TopicRecord struct {
	Name string
	ID   UUID
}

// PartitionRecord adds a topic's next partition.
type PartitionRecord struct {
	TopicID        UUID
	Partition      int32 // the number of partitions before it
	Replicas, ISR  []int32
	Leader         int32
	LeaderEpoch    int32 // zero except in snapshots
	PartitionEpoch int32 // zero except in snapshots
	// Adding and Removing are empty except in snapshots.
	Adding, Removing []int32
}

// PartitionChangeRecord changes a partition: its partition epoch grows, and its
// leader epoch if the leader is another. Nil and empty fields stay as they are.
type PartitionChangeRecord struct {
	TopicID       UUID
	Partition     int32
	Leader        *int32
	ISR, Replicas []int32
	// Reassignment begins a reassignment, changes it, or, if it is empty, ends it.
	Reassignment *Reassignment
}

// Reassignment is what a reassignment of a partition still has to do.
type Reassignment struct{ Adding, Removing []int32 }

// RemoveTopicRecord removes a topic with its partitions and configuration.
type RemoveTopicRecord struct{ ID UUID }

// ConfigRecord sets one value of a resource, or removes it if Value is nil.
type ConfigRecord struct {
	Resource ConfigResource
	Name     string
	Value    *string
}

// ProducerIDsRecord gives the ids from Image.NextProducerID up to its own to a broker.
type ProducerIDsRecord struct {
	BrokerID       int32 // -1 in snapshots
	BrokerEpoch    int64
	NextProducerID int64
}

func (ClusterRecord) isRecord()          {}
func (RegisterBrokerRecord) isRecord()   {}
func (BrokerChangeRecord) isRecord()     {}
func (UnregisterBrokerRecord) isRecord() {}
func (BrokerEpochRecord) isRecord()      {}
func (ReplicaIDRecord) isRecord()        {}
func (TopicRecord) isRecord()            {}
func (PartitionRecord) isRecord()        {}
func (PartitionChangeRecord) isRecord()  {}
func (RemoveTopicRecord) isRecord()      {}
func (ConfigRecord) isRecord()           {}
func (ProducerIDsRecord) isRecord()      {}

// String returns the id in hex.
func (u UUID) String() string { return fmt.Sprintf("%x", u[:]) }
