package metadata

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/quorate/quorate/core/metadata/metadatapb"
)

// MaxBatchBytes is the largest encoded batch that DecodeRecords takes. A writer
// stays under half of it.
const MaxBatchBytes = 1 << 20

// EncodeRecords returns a proposal's payload: records that apply all or none.
func EncodeRecords(records []Record) ([]byte, error) {
	batch := &metadatapb.RecordBatch{Records: make([]*metadatapb.Record, len(records))}
	for i, rec := range records {
		r, err := encodeRecord(rec)
		if err != nil {
			return nil, err
		}
		batch.Records[i] = r
	}
	data, err := proto.Marshal(batch)
	if err != nil {
		return nil, fmt.Errorf("encode metadata records: %w", err)
	}
	return data, nil
}

// EncodedSize returns about how many bytes rec adds to an encoded batch: never
// less than it does.
func EncodedSize(rec Record) int {
	r, err := encodeRecord(rec)
	if err != nil {
		return 0
	}
	const tagAndLength = 6
	return proto.Size(r) + tagAndLength
}

func encodeRecord(rec Record) (*metadatapb.Record, error) {
	switch rec := rec.(type) {
	case ClusterRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_Cluster{Cluster: &metadatapb.Cluster{Id: rec.ID}}}, nil
	case RegisterBrokerRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_RegisterBroker{RegisterBroker: encodeRegisterBroker(rec)}}, nil
	case BrokerChangeRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_BrokerChange{BrokerChange: &metadatapb.BrokerChange{
			Id: rec.ID, Epoch: rec.Epoch, Fenced: rec.Fenced, InControlledShutdown: rec.InControlledShutdown,
		}}}, nil
	case UnregisterBrokerRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_UnregisterBroker{UnregisterBroker: &metadatapb.UnregisterBroker{Id: rec.ID, Epoch: rec.Epoch}}}, nil
	case BrokerEpochRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_BrokerEpoch{BrokerEpoch: &metadatapb.BrokerEpoch{Next: rec.Next}}}, nil
	case ReplicaIDRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_ReplicaId{ReplicaId: &metadatapb.ReplicaId{Next: rec.Next}}}, nil
	case ProducerIDsRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_ProducerIds{ProducerIds: &metadatapb.ProducerIds{
			BrokerId: rec.BrokerID, BrokerEpoch: rec.BrokerEpoch, NextProducerId: rec.NextProducerID,
		}}}, nil
	default:
		return encodeTopicRecord(rec)
	}
}

func encodeTopicRecord(rec Record) (*metadatapb.Record, error) {
	switch rec := rec.(type) {
	case TopicRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_Topic{Topic: &metadatapb.Topic{Name: rec.Name, Id: rec.ID[:]}}}, nil
	case PartitionRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_Partition{Partition: &metadatapb.Partition{
			TopicId: rec.TopicID[:], Partition: rec.Partition, Replicas: rec.Replicas, Isr: rec.ISR,
			Leader: rec.Leader, LeaderEpoch: rec.LeaderEpoch, PartitionEpoch: rec.PartitionEpoch,
			Reassignment: encodeMoving(rec.Adding, rec.Removing),
		}}}, nil
	case PartitionChangeRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_PartitionChange{PartitionChange: &metadatapb.PartitionChange{
			TopicId: rec.TopicID[:], Partition: rec.Partition, Leader: rec.Leader, Isr: rec.ISR, Replicas: rec.Replicas,
			Reassignment: encodeReassignment(rec.Reassignment),
		}}}, nil
	case RemoveTopicRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_RemoveTopic{RemoveTopic: &metadatapb.RemoveTopic{Id: rec.ID[:]}}}, nil
	case ConfigRecord:
		return &metadatapb.Record{Kind: &metadatapb.Record_Config{Config: &metadatapb.Config{
			ResourceType: int32(rec.Resource.Type), ResourceName: rec.Resource.Name, Name: rec.Name, Value: rec.Value,
		}}}, nil
	default:
		return nil, fmt.Errorf("encode metadata records: unknown record %T", rec)
	}
}

func encodeRegisterBroker(rec RegisterBrokerRecord) *metadatapb.RegisterBroker {
	out := &metadatapb.RegisterBroker{
		Id: rec.ID, Epoch: rec.Epoch, Incarnation: rec.Incarnation[:], Rack: rec.Rack,
		Cluster: encodeEndpoint(rec.Cluster), Fenced: rec.Fenced, InControlledShutdown: rec.InControlledShutdown,
		Replica: rec.Replica,
	}
	for _, e := range rec.Listeners {
		out.Listeners = append(out.Listeners, encodeEndpoint(e))
	}
	return out
}

func encodeReassignment(r *Reassignment) *metadatapb.Reassignment {
	if r == nil {
		return nil
	}
	return &metadatapb.Reassignment{Adding: r.Adding, Removing: r.Removing}
}

// encodeMoving is the reassignment of a partition, nil if there is none.
func encodeMoving(adding, removing []int32) *metadatapb.Reassignment {
	if len(adding) == 0 && len(removing) == 0 {
		return nil
	}
	return &metadatapb.Reassignment{Adding: adding, Removing: removing}
}

func encodeEndpoint(e Endpoint) *metadatapb.Endpoint {
	return &metadatapb.Endpoint{Name: e.Name, Host: e.Host, Port: e.Port, Security: e.Security}
}
