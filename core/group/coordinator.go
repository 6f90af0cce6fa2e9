package group

import (
	"context"
	"log/slog"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol"
)

// OffsetsTopic is the internal topic that groups and offsets are kept in. The
// number of its partitions says where a group lives and is fixed for life.
const OffsetsTopic = "__consumer_offsets"

// Images is where the metadata comes from.
type Images interface {
	Current() *metadata.Image
}

// ClientInfo is who sent a request, as DescribeGroups shows it.
type ClientInfo struct {
	ID   string // client.id
	Host string // the address, without port
}

// Coordinator serves the groups whose partition this broker leads.
type Coordinator struct {
	cfg     Config
	images  Images
	shards  *coordinator.Shards[*machine]
	log     *slog.Logger
	deleted chan struct{} // a topic was; of length 1
}

// New returns a coordinator on this broker's partitions of __consumer_offsets. It
// starts nothing; call it before the first metadata image is published. cfg must
// be valid.
func New(cfg Config, images Images, m *replica.Manager, log *slog.Logger) *Coordinator {
	return newCoordinator(cfg, images, coordinator.Replicas(images, m, OffsetsTopic), log)
}

func newCoordinator(cfg Config, images Images, source coordinator.Source, log *slog.Logger) *Coordinator {
	log = log.With("component", "group")
	return &Coordinator{
		cfg:     cfg,
		images:  images,
		log:     log,
		deleted: make(chan struct{}, 1),
		shards: coordinator.NewShards(cfg.Shard, source, func(timers *coordinator.Timers) *machine {
			return newMachine(cfg, images, timers, log)
		}, log),
	}
}

// Run serves until ctx ends; then every request that waits has been answered.
func (c *Coordinator) Run(ctx context.Context) error {
	var sweeping sync.WaitGroup
	sweeping.Go(func() { c.sweepDeleted(ctx) })
	err := c.shards.Run(ctx)
	sweeping.Wait()
	return err
}

// OnImage drops the offsets of topics that were deleted. It does not block.
func (c *Coordinator) OnImage(old, next *metadata.Image) {
	if old == nil || !anyDeleted(old, next) {
		return
	}
	select {
	case c.deleted <- struct{}{}:
	default: // the sweep that is due sees this one too
	}
}

func anyDeleted(old, next *metadata.Image) bool {
	for t := range old.Topics() {
		if _, ok := next.TopicByID(t.ID); !ok {
			return true
		}
	}
	return false
}

// sweepDeleted has every shard look for offsets without a topic whenever one was
// deleted.
func (c *Coordinator) sweepDeleted(ctx context.Context) {
	for {
		select {
		case <-c.deleted:
		case <-ctx.Done():
			return
		}
		for _, p := range c.shards.Partitions() {
			c.shards.Submit(p, coordinator.Event[*machine]{
				Run:    func(m *machine, t *coordinator.Turn) { m.sweep.Set(t.Now) },
				Refuse: func(error) {}, // it sweeps when it begins to serve, and every now and then
			})
		}
	}
}

// PartitionFor returns the partition of __consumer_offsets that a group lives
// on, or -1 if there is no such topic yet.
func (c *Coordinator) PartitionFor(group string) int32 {
	t, ok := c.images.Current().Topic(OffsetsTopic)
	if !ok || len(t.Partitions) == 0 {
		return -1
	}
	return partitionFor(group, int32(len(t.Partitions)))
}

// partitionFor is Kafka's: the hash of a Java string, without its sign.
func partitionFor(group string, partitions int32) int32 {
	var h int32
	for _, u := range utf16.Encode([]rune(group)) {
		h = 31*h + int32(u)
	}
	return (h & 0x7fffffff) % partitions
}

// on has run decide on the groups of a group's partition.
func on[R any](ctx context.Context, c *Coordinator, group string, run func(m *machine, t *coordinator.Turn, r coordinator.Reply[R])) (R, error) {
	partition := c.PartitionFor(group)
	if partition < 0 {
		var none R
		return none, protocol.Errorf(protocol.CoordinatorNotAvailable, "there is no topic %s yet", OffsetsTopic)
	}
	return coordinator.Do(ctx, c.shards, partition, group, run)
}

// codeOf is what a client is told of a request that could not be decided on.
func (c *Coordinator) codeOf(err error) protocol.ErrorCode {
	code := groupCode(err)
	if code == protocol.RequestTimedOut { // our own clock, or the connection is gone
		return protocol.CoordinatorNotAvailable
	}
	if code == protocol.UnknownServerError {
		c.log.Error("a group's request failed", "error", err)
	}
	return code
}

// allowsSession reports whether a session timeout is within bounds.
func (c *Coordinator) allowsSession(millis int32) bool {
	session := time.Duration(millis) * time.Millisecond
	return session >= c.cfg.MinSessionTimeout && session <= c.cfg.MaxSessionTimeout
}
