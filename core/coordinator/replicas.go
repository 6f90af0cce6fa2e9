package coordinator

import (
	"context"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
)

// Images is where the metadata comes from.
type Images interface {
	Current() *metadata.Image
}

// Replicas returns the partitions of a topic as the replica manager has them.
func Replicas(images Images, m *replica.Manager, topic string) Source {
	return replicas{images: images, manager: m, topic: topic}
}

type replicas struct {
	images  Images
	manager *replica.Manager
	topic   string
}

func (r replicas) Partition(partition int32) (Partition, error) {
	t, ok := r.images.Current().Topic(r.topic)
	if !ok {
		return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "there is no topic %s yet", r.topic)
	}
	p, err := r.manager.Partition(t.ID, partition)
	if err != nil {
		return nil, err
	}
	return led{p}, nil
}

func (r replicas) OnLeadership(f func(partition int32, leader bool, epoch int32)) {
	r.manager.OnLeadership(r.topic, f)
}

// led is a partition that this broker leads.
type led struct{ *replica.Partition }

// Append is fenced by the epoch: what was decided on the state of one leadership
// never lands in the log of another.
func (p led) Append(epoch int32, batch []byte) (int64, error) {
	a, err := p.Partition.Append(batch, replica.AcksAll, replica.AppendOptions{Internal: true, LeaderEpoch: &epoch})
	return a.End, err
}

func (p led) AwaitCommitted(ctx context.Context, epoch int32, end int64) error {
	return p.AwaitAcks(ctx, replica.Appended{Last: end - 1, End: end, LeaderEpoch: epoch}, replica.AcksAll)
}

func (p led) Bounds() (start, end int64) {
	s := p.State()
	return s.Start, s.End
}
