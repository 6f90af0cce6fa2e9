package controller

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// reservedTopic is Kafka's name for its metadata log. Tools would take a topic of
// that name for it.
const reservedTopic = "__cluster_metadata"

// createTopics answers CreateTopics (key 19): one result per topic, in order. A
// topic is created whole or not at all; one that fails does not hinder the others.
func (r *round) createTopics(req *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	resp := kmsg.NewPtrCreateTopicsResponse()
	count := map[string]int{}
	for _, topic := range req.Topics {
		count[topic.Topic]++
	}
	for _, topic := range req.Topics {
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic, out.NumPartitions, out.ReplicationFactor = topic.Topic, -1, -1
		err := error(protocol.Errorf(protocol.InvalidRequest, "Duplicate topic name."))
		if count[topic.Topic] == 1 {
			err = r.createTopic(topic, req.ValidateOnly, &out)
		}
		out.ErrorCode, out.ErrorMessage = result(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (r *round) createTopic(topic kmsg.CreateTopicsRequestTopic, validateOnly bool, out *kmsg.CreateTopicsResponseTopic) error {
	if err := checkNewName(r.delta, topic.Topic); err != nil {
		return err
	}
	id := metadata.UUID(uuid.New())
	partitions, err := r.newPartitions(id, topic)
	if err != nil {
		return err
	}
	configs, err := newTopicConfigs(topic)
	if err != nil {
		return err
	}
	records := append([]metadata.Record{metadata.TopicRecord{Name: topic.Topic, ID: id}}, partitions...)
	first, _ := partitions[0].(metadata.PartitionRecord)
	out.NumPartitions, out.ReplicationFactor = int32(len(partitions)), int16(len(first.Replicas))
	if !validateOnly {
		if err := r.commit(append(records, configs...)...); err != nil {
			return err
		}
		out.TopicID = id
	}
	out.Configs = r.effectiveConfigs(topic)
	return nil
}

// checkNewName tells why no topic of that name can be created.
func checkNewName(d *metadata.Delta, name string) error {
	if err := metadata.ValidateTopicName(name); err != nil {
		return protocol.Errorf(protocol.InvalidTopicException, "%v", err)
	}
	if name == reservedTopic {
		return protocol.Errorf(protocol.InvalidRequest, "Creation of internal topic %s is prohibited.", name)
	}
	if _, ok := d.Topic(name); ok {
		return protocol.Errorf(protocol.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if !strings.ContainsAny(name, "._") {
		return nil
	}
	for t := range d.Topics() {
		if metadata.TopicNamesCollide(name, t.Name) {
			return protocol.Errorf(protocol.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, t.Name)
		}
	}
	return nil
}

// newPartitions returns the records of a new topic's partitions: where the
// client put them, or where placement does.
func (r *round) newPartitions(id metadata.UUID, topic kmsg.CreateTopicsRequestTopic) ([]metadata.Record, error) {
	if len(topic.ReplicaAssignment) > 0 {
		if topic.NumPartitions != -1 || topic.ReplicationFactor != -1 {
			return nil, protocol.Errorf(protocol.InvalidRequest, "A manual partition assignment was specified, but numPartitions and replicationFactor were not both set to -1.")
		}
		return r.assignedPartitions(id, topic.ReplicaAssignment)
	}
	count, factor := topic.NumPartitions, topic.ReplicationFactor
	if count == -1 {
		count = r.cfg.NumPartitions
	}
	if factor == -1 {
		factor = r.cfg.DefaultReplicationFactor
	}
	switch {
	case count < 1:
		return nil, protocol.Errorf(protocol.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	case int(count) > r.cfg.MaxPartitionsPerRequest:
		return nil, protocol.Errorf(protocol.InvalidPartitions, "At most %d partitions can be created at once.", r.cfg.MaxPartitionsPerRequest)
	case factor < 1:
		return nil, protocol.Errorf(protocol.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	}
	return r.placedPartitions(id, 0, int(count), int(factor))
}

// placedPartitions returns the records of partitions [from, to).
func (r *round) placedPartitions(id metadata.UUID, from, to, factor int) ([]metadata.Record, error) {
	place := newPlacement(r.delta, r.random)
	if err := place.check(factor); err != nil {
		return nil, err
	}
	var records []metadata.Record
	for n := from; n < to; n++ {
		rec, ok := newPartition(r.delta, id, int32(n), place.replicas(n, factor))
		if !ok {
			return nil, protocol.Errorf(protocol.InvalidReplicationFactor, "No broker is alive.")
		}
		records = append(records, rec)
	}
	return records, nil
}

// assignedPartitions returns the records of partitions that the client placed.
func (r *round) assignedPartitions(id metadata.UUID, assignment []kmsg.CreateTopicsRequestTopicReplicaAssignment) ([]metadata.Record, error) {
	if len(assignment) > r.cfg.MaxPartitionsPerRequest {
		return nil, protocol.Errorf(protocol.InvalidPartitions, "At most %d partitions can be created at once.", r.cfg.MaxPartitionsPerRequest)
	}
	sorted := slices.Clone(assignment)
	slices.SortFunc(sorted, func(a, b kmsg.CreateTopicsRequestTopicReplicaAssignment) int {
		return cmp.Compare(a.Partition, b.Partition)
	})
	var records []metadata.Record
	for n, a := range sorted {
		if int(a.Partition) != n {
			return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "Partitions should be a consecutive 0-based integer sequence; %d stands where %d should.", a.Partition, n)
		}
		rec, err := r.assignedPartition(id, n, a.Replicas, len(sorted[0].Replicas))
		if err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	return records, nil
}

// assignedPartition checks where the client put a partition.
func (r *round) assignedPartition(id metadata.UUID, partition int, replicas []int32, factor int) (metadata.Record, error) {
	if len(replicas) == 0 {
		return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	if len(replicas) != factor {
		return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).", len(replicas), factor)
	}
	for n, b := range replicas {
		if _, ok := r.delta.Broker(b); !ok {
			return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", b)
		}
		if slices.Contains(replicas[:n], b) {
			return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", b)
		}
	}
	rec, ok := newPartition(r.delta, id, int32(partition), slices.Clone(replicas))
	if !ok {
		return nil, protocol.Errorf(protocol.InvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", partition)
	}
	return rec, nil
}

// newTopicConfigs returns the records of a new topic's configuration.
func newTopicConfigs(topic kmsg.CreateTopicsRequestTopic) ([]metadata.Record, error) {
	var records []metadata.Record
	for _, c := range topic.Configs {
		def, ok := metadata.TopicConfigByName(c.Name)
		if !ok {
			return nil, protocol.Errorf(protocol.InvalidConfig, "Unknown topic config name: %s", c.Name)
		}
		if c.Value == nil {
			return nil, protocol.Errorf(protocol.InvalidConfig, "Null value not supported for topic configs: %s", c.Name)
		}
		if err := def.Check(*c.Value); err != nil {
			return nil, protocol.Errorf(protocol.InvalidConfig, "%v", err)
		}
		resource := metadata.ConfigResource{Type: metadata.TopicResource, Name: topic.Topic}
		records = append(records, metadata.ConfigRecord{Resource: resource, Name: c.Name, Value: c.Value})
	}
	return records, nil
}

// effectiveConfigs is the whole configuration of a topic that was or would be
// created.
func (r *round) effectiveConfigs(topic kmsg.CreateTopicsRequestTopic) []kmsg.CreateTopicsResponseTopicConfig {
	config := r.delta.TopicConfig(topic.Topic, r.cfg.Defaults)
	var out []kmsg.CreateTopicsResponseTopicConfig
	for _, def := range metadata.TopicConfigs {
		value, source, _ := config.Value(def.Name)
		for _, c := range topic.Configs {
			if c.Name == def.Name && c.Value != nil {
				value, source = *c.Value, metadata.SourceTopic
			}
		}
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.Source = def.Name, new(value), int8(source)
		out = append(out, c)
	}
	return out
}
