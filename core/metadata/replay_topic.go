package metadata

import (
	"fmt"
	"slices"
)

func (d *Delta) replayTopic(rec TopicRecord) error {
	if rec.Name == "" || rec.ID == (UUID{}) {
		return fmt.Errorf("replay topic: name %q, id %s", rec.Name, rec.ID)
	}
	if _, ok := d.next.names[rec.Name]; ok {
		return fmt.Errorf("replay topic: %q exists", rec.Name)
	}
	if _, ok := d.next.topics[rec.ID]; ok {
		return fmt.Errorf("replay topic: id %s exists", rec.ID)
	}
	d.putTopic(&Topic{Name: rec.Name, ID: rec.ID})
	return nil
}

func (d *Delta) replayPartition(rec PartitionRecord) error {
	t := d.mutableTopic(rec.TopicID)
	if t == nil {
		return fmt.Errorf("replay partition: no topic %s", rec.TopicID)
	}
	if int(rec.Partition) != len(t.Partitions) {
		return fmt.Errorf("replay partition: %s-%d after %d partitions", rec.TopicID, rec.Partition, len(t.Partitions))
	}
	p := &Partition{
		Replicas:       rec.Replicas,
		ISR:            rec.ISR,
		Leader:         rec.Leader,
		LeaderEpoch:    rec.LeaderEpoch,
		PartitionEpoch: rec.PartitionEpoch,
		Adding:         rec.Adding,
		Removing:       rec.Removing,
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("replay partition %s-%d: %w", rec.TopicID, rec.Partition, err)
	}
	t.Partitions = append(t.Partitions, p)
	return nil
}

func (d *Delta) replayPartitionChange(rec PartitionChangeRecord) error {
	old := d.Partition(rec.TopicID, rec.Partition)
	if old == nil {
		return fmt.Errorf("replay partition change: no partition %s-%d", rec.TopicID, rec.Partition)
	}
	p := *old
	if len(rec.Replicas) > 0 {
		p.Replicas = rec.Replicas
	}
	if len(rec.ISR) > 0 {
		p.ISR = rec.ISR
	}
	if rec.Reassignment != nil {
		p.Adding, p.Removing = rec.Reassignment.Adding, rec.Reassignment.Removing
	}
	if rec.Leader != nil && *rec.Leader != p.Leader {
		p.Leader = *rec.Leader
		p.LeaderEpoch++
	}
	p.PartitionEpoch++
	if err := p.check(); err != nil {
		return fmt.Errorf("replay partition change %s-%d: %w", rec.TopicID, rec.Partition, err)
	}
	d.mutableTopic(rec.TopicID).Partitions[rec.Partition] = &p
	return nil
}

// check holds a partition to what every reader relies on.
func (p *Partition) check() error {
	if len(p.Replicas) == 0 || len(p.ISR) == 0 {
		return fmt.Errorf("%d replicas, %d of them in sync", len(p.Replicas), len(p.ISR))
	}
	for i, id := range p.Replicas {
		if id < 0 || slices.Contains(p.Replicas[:i], id) {
			return fmt.Errorf("replicas %v", p.Replicas)
		}
	}
	for i, id := range p.ISR {
		if !slices.Contains(p.Replicas, id) || slices.Contains(p.ISR[:i], id) {
			return fmt.Errorf("isr %v of replicas %v", p.ISR, p.Replicas)
		}
	}
	if p.Leader != NoLeader && !slices.Contains(p.ISR, p.Leader) {
		return fmt.Errorf("leader %d is not in isr %v", p.Leader, p.ISR)
	}
	for _, ids := range [][]int32{p.Adding, p.Removing} {
		for i, id := range ids {
			if !slices.Contains(p.Replicas, id) || slices.Contains(ids[:i], id) {
				return fmt.Errorf("adding %v, removing %v of replicas %v", p.Adding, p.Removing, p.Replicas)
			}
		}
	}
	if p.LeaderEpoch < 0 || p.PartitionEpoch < 0 {
		return fmt.Errorf("leader epoch %d, partition epoch %d", p.LeaderEpoch, p.PartitionEpoch)
	}
	return nil
}

func (d *Delta) replayRemoveTopic(rec RemoveTopicRecord) error {
	t, ok := d.next.topics[rec.ID]
	if !ok {
		return fmt.Errorf("replay topic removal: no topic %s", rec.ID)
	}
	d.mutableTopics()
	delete(d.next.topics, t.ID)
	delete(d.next.names, t.Name)
	resource := ConfigResource{Type: TopicResource, Name: t.Name}
	if _, ok := d.next.configs[resource]; ok {
		d.mutableConfigs()
		delete(d.next.configs, resource)
		delete(d.owned.config, resource)
	}
	return nil
}

func (d *Delta) replayConfig(rec ConfigRecord) error {
	switch rec.Resource.Type {
	case TopicResource:
		if _, ok := d.next.names[rec.Resource.Name]; !ok {
			return fmt.Errorf("replay config %q: no topic %q", rec.Name, rec.Resource.Name)
		}
	case BrokerResource:
	default:
		return fmt.Errorf("replay config %q: resource type %d", rec.Name, rec.Resource.Type)
	}
	if rec.Name == "" {
		return fmt.Errorf("replay config of %q: no name", rec.Resource.Name)
	}
	values := d.mutableConfig(rec.Resource)
	if rec.Value != nil {
		values[rec.Name] = *rec.Value
		return nil
	}
	delete(values, rec.Name)
	if len(values) == 0 {
		delete(d.next.configs, rec.Resource)
		delete(d.owned.config, rec.Resource)
	}
	return nil
}
