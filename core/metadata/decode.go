package metadata

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/quorate/quorate/core/metadata/metadatapb"
)

// DecodeRecords reads what EncodeRecords wrote. It refuses what it does not
// know, unknown fields included: a record half understood would make this
// replica differ from the others. The records own their memory.
func DecodeRecords(data []byte) ([]Record, error) {
	if len(data) > MaxBatchBytes {
		return nil, fmt.Errorf("decode metadata records: %d bytes, the limit is %d", len(data), MaxBatchBytes)
	}
	batch := &metadatapb.RecordBatch{}
	if err := proto.Unmarshal(data, batch); err != nil {
		return nil, fmt.Errorf("decode metadata records: %w", err)
	}
	if err := refuseUnknown(batch.ProtoReflect()); err != nil {
		return nil, fmt.Errorf("decode metadata records: %w", err)
	}
	records := make([]Record, len(batch.GetRecords()))
	for i, r := range batch.GetRecords() {
		rec, err := decodeRecord(r)
		if err != nil {
			return nil, fmt.Errorf("decode metadata record %d: %w", i, err)
		}
		records[i] = rec
	}
	return records, nil
}

// refuseUnknown looks for unknown fields in m and everything below it.
func refuseUnknown(m protoreflect.Message) (err error) {
	if len(m.GetUnknown()) > 0 {
		return fmt.Errorf("%s has fields that this version does not know", m.Descriptor().Name())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				if err = refuseUnknown(v.List().Get(i).Message()); err != nil {
					return false
				}
			}
		default:
			err = refuseUnknown(v.Message())
		}
		return err == nil
	})
	return err
}

func decodeRecord(r *metadatapb.Record) (Record, error) {
	switch k := r.GetKind().(type) {
	case *metadatapb.Record_Cluster:
		return ClusterRecord{ID: k.Cluster.GetId()}, nil
	case *metadatapb.Record_RegisterBroker:
		return decodeRegisterBroker(k.RegisterBroker)
	case *metadatapb.Record_BrokerChange:
		c := k.BrokerChange
		return BrokerChangeRecord{ID: c.GetId(), Epoch: c.GetEpoch(), Fenced: c.Fenced, InControlledShutdown: c.InControlledShutdown}, nil
	case *metadatapb.Record_UnregisterBroker:
		return UnregisterBrokerRecord{ID: k.UnregisterBroker.GetId(), Epoch: k.UnregisterBroker.GetEpoch()}, nil
	case *metadatapb.Record_BrokerEpoch:
		return BrokerEpochRecord{Next: k.BrokerEpoch.GetNext()}, nil
	case *metadatapb.Record_ReplicaId:
		return ReplicaIDRecord{Next: k.ReplicaId.GetNext()}, nil
	case *metadatapb.Record_ProducerIds:
		p := k.ProducerIds
		return ProducerIDsRecord{BrokerID: p.GetBrokerId(), BrokerEpoch: p.GetBrokerEpoch(), NextProducerID: p.GetNextProducerId()}, nil
	default:
		return decodeTopicRecord(r)
	}
}

func decodeTopicRecord(r *metadatapb.Record) (Record, error) {
	switch k := r.GetKind().(type) {
	case *metadatapb.Record_Topic:
		id, err := decodeUUID(k.Topic.GetId())
		return TopicRecord{Name: k.Topic.GetName(), ID: id}, err
	case *metadatapb.Record_Partition:
		p := k.Partition
		id, err := decodeUUID(p.GetTopicId())
		return PartitionRecord{
			TopicID: id, Partition: p.GetPartition(), Replicas: p.GetReplicas(), ISR: p.GetIsr(),
			Leader: p.GetLeader(), LeaderEpoch: p.GetLeaderEpoch(), PartitionEpoch: p.GetPartitionEpoch(),
			Adding: p.GetReassignment().GetAdding(), Removing: p.GetReassignment().GetRemoving(),
		}, err
	case *metadatapb.Record_PartitionChange:
		c := k.PartitionChange
		id, err := decodeUUID(c.GetTopicId())
		return PartitionChangeRecord{
			TopicID: id, Partition: c.GetPartition(), Leader: c.Leader, ISR: c.GetIsr(), Replicas: c.GetReplicas(),
			Reassignment: decodeReassignment(c.GetReassignment()),
		}, err
	case *metadatapb.Record_RemoveTopic:
		id, err := decodeUUID(k.RemoveTopic.GetId())
		return RemoveTopicRecord{ID: id}, err
	case *metadatapb.Record_Config:
		c := k.Config
		if t := c.GetResourceType(); t != int32(TopicResource) && t != int32(BrokerResource) {
			return nil, fmt.Errorf("resource type %d", t)
		}
		resource := ConfigResource{Type: ResourceType(c.GetResourceType()), Name: c.GetResourceName()}
		return ConfigRecord{Resource: resource, Name: c.GetName(), Value: c.Value}, nil
	default:
		return nil, fmt.Errorf("unknown kind of record")
	}
}

func decodeRegisterBroker(r *metadatapb.RegisterBroker) (Record, error) {
	incarnation, err := decodeUUID(r.GetIncarnation())
	if err != nil {
		return nil, err
	}
	rec := RegisterBrokerRecord{
		ID: r.GetId(), Epoch: r.GetEpoch(), Incarnation: incarnation, Rack: r.GetRack(),
		Cluster: decodeEndpoint(r.GetCluster()), Fenced: r.GetFenced(), InControlledShutdown: r.GetInControlledShutdown(),
		Replica: r.GetReplica(),
	}
	for _, e := range r.GetListeners() {
		rec.Listeners = append(rec.Listeners, decodeEndpoint(e))
	}
	return rec, nil
}

func decodeReassignment(r *metadatapb.Reassignment) *Reassignment {
	if r == nil {
		return nil
	}
	return &Reassignment{Adding: r.GetAdding(), Removing: r.GetRemoving()}
}

func decodeEndpoint(e *metadatapb.Endpoint) Endpoint {
	return Endpoint{Name: e.GetName(), Host: e.GetHost(), Port: e.GetPort(), Security: e.GetSecurity()}
}

func decodeUUID(b []byte) (id UUID, err error) {
	if len(b) != len(id) {
		return id, fmt.Errorf("an id of %d bytes", len(b))
	}
	return UUID(b), nil
}
