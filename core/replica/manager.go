package replica

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/core/wal/filecache"
	"github.com/quorate/quorate/protocol"
)

// Manager holds every partition that this broker has a replica of.
type Manager struct {
	cfg         Config
	images      Images
	peers       Peers
	isr         ISRChanger
	brokerEpoch func() int64
	log         *slog.Logger
	metrics     *metrics
	files       *filecache.Cache
	registerer  prometheus.Registerer // nil: nobody counts

	// turn is held by whoever brings the partitions into line with an image. It is a
	// channel, not a mutex, because callbacks are called within.
	turn         chan struct{}
	adopted      bool          // an image had this broker's registration; of turn
	removal      chan struct{} // capacity 1
	ready        chan struct{} // closed once adopted and open
	closed       bool          // of turn
	listeners    map[string][]func(partition int32, leader bool, epoch int32)
	checkpointed *map[partitionKey]*Partition // whose high watermarks are on disk; of checkpoint
	marks        map[checkpointKey]int64      // of the last run, empty once the logs are open; of turn
	committer    *wal.Committer               // nil until the first image; of turn

	partitions atomic.Pointer[map[partitionKey]*Partition] // replaced, never changed
	following  *following
	syncs      *syncer
	cleaner    *cleaner
	isrChanges *partitionSet
	trims      *partitionSet // whose log start has moved

	broken  chan error // the first failure of the disk
	storage atomic.Bool
}

// NewManager returns a manager without partitions; it starts nothing and touches
// no file. cfg must be valid.
//
// brokerEpoch is the epoch of this broker's registration, negative while there is
// none; images are ignored until one holds it. Nil takes every image as current.
// The metrics are registered with reg unless it is nil.
func NewManager(cfg Config, images Images, peers Peers, isr ISRChanger, brokerEpoch func() int64, log *slog.Logger, reg prometheus.Registerer) *Manager {
	m := &Manager{
		cfg:         cfg,
		images:      images,
		peers:       peers,
		isr:         isr,
		brokerEpoch: brokerEpoch,
		log:         log.With("component", "replica"),
		turn:        make(chan struct{}, 1),
		removal:     make(chan struct{}, 1),
		ready:       make(chan struct{}),
		listeners:   map[string][]func(int32, bool, int32){},
		following:   newFollowing(),
		syncs:       newSyncer(),
		cleaner:     &cleaner{throttle: throttle{perSecond: cfg.CleanerBytesPerSecond}},
		isrChanges:  newPartitionSet(),
		trims:       newPartitionSet(),
		broken:      make(chan error, 1),
		registerer:  reg,
		files:       filecache.New(cfg.maxOpenFiles()),
	}
	if brokerEpoch == nil {
		m.adopted = true
		m.brokerEpoch = func() int64 { return -1 }
	}
	m.partitions.Store(&map[partitionKey]*Partition{})
	m.metrics = newMetrics(m, reg)
	return m
}

// OnLeadership has f called whenever this broker becomes leader of a partition
// of the topic, in every new epoch again, or stops to lead it: once the image that
// says so was applied, in order, and never two at a time. f must not block, nor
// call OnImage. Register before the first image.
func (m *Manager) OnLeadership(topicName string, f func(partition int32, leader bool, epoch int32)) {
	m.listeners[topicName] = append(m.listeners[topicName], f)
}

// Partition returns this broker's replica. The error is UNKNOWN_TOPIC_ID,
// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER if the partition has no
// replica here or not yet, or KAFKA_STORAGE_ERROR if the disk failed.
func (m *Manager) Partition(topicID metadata.UUID, partition int32) (*Partition, error) {
	if p, ok := (*m.partitions.Load())[partitionKey{topicID, partition}]; ok {
		return p, nil
	}
	img := m.images.Current()
	topic, ok := img.TopicByID(topicID)
	switch {
	case !ok:
		return nil, protocol.Errorf(protocol.UnknownTopicID, "no topic has the id %s", topicID)
	case img.Partition(topicID, partition) == nil:
		return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "topic %s has no partition %d", topic.Name, partition)
	case m.storage.Load():
		return nil, protocol.Errorf(protocol.KafkaStorageError, "the disk of this broker has failed")
	}
	return nil, protocol.Errorf(protocol.NotLeaderOrFollower, "%s-%d has no replica on this broker", topic.Name, partition)
}

// fail makes Run return err; the first one counts.
func (m *Manager) fail(err error) {
	m.storage.Store(true)
	select {
	case m.broken <- err:
	default:
	}
}

// take waits for the turn; the caller gives it back.
func (m *Manager) take() { m.turn <- struct{}{} }

func (m *Manager) give() { <-m.turn }

// awaitFailure returns the first failure of the disk.
func (m *Manager) awaitFailure(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-m.broken:
		return err
	}
}
