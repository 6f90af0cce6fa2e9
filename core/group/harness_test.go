package group

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/coordinator"
	"github.com/quorate/quorate/core/coordinator/coordinatortest"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// images is an Images that the test sets.
type images struct{ atomic.Pointer[metadata.Image] }

func (i *images) Current() *metadata.Image { return i.Load() }

// apply changes the image and returns the one before.
func (i *images) apply(t *testing.T, records ...metadata.Record) (old *metadata.Image) {
	t.Helper()
	old = i.Load()
	if old == nil {
		old = metadata.Empty()
	}
	d := metadata.NewDelta(old)
	for _, rec := range records {
		if err := d.Replay(rec); err != nil {
			t.Fatalf("apply %+v: %v", rec, err)
		}
	}
	i.Store(d.Image(old.Index+1, 1, consensus.Gate{}))
	return old
}

func topicRecords(id byte, name string, partitions int32) []metadata.Record {
	uuid := metadata.UUID{id}
	records := []metadata.Record{metadata.TopicRecord{Name: name, ID: uuid}}
	for p := range partitions {
		records = append(records, metadata.PartitionRecord{TopicID: uuid, Partition: p, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1})
	}
	return records
}

// source is a coordinatortest.Topic as a coordinator.Source.
type source struct{ *coordinatortest.Topic }

func (s source) Partition(p int32) (coordinator.Partition, error) { return s.Partitions[p], nil }

// broker is a coordinator in a synctest bubble. It leads the one partition of
// __consumer_offsets; topics "orders" and "clicks" have three partitions each.
type broker struct {
	*Coordinator
	t      *testing.T
	topic  *coordinatortest.Topic
	log    *coordinatortest.Log
	images *images
}

const rebalanceDelay = 3 * time.Second

func start(t *testing.T, change func(*Config)) *broker {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	imgs := &images{}
	imgs.apply(t, slices.Concat(topicRecords(9, OffsetsTopic, 1), topicRecords(1, "orders", 3), topicRecords(2, "clicks", 3))...)
	topic := coordinatortest.NewTopic(1)
	b := &broker{t: t, topic: topic, log: topic.Partitions[0], images: imgs}
	b.Coordinator = newCoordinator(cfg, imgs, source{topic}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	topic.Lead(0)
	synctest.Wait()
	return b
}

// failover has another broker lead for a moment, so that everything is loaded
// from the log.
func (b *broker) failover() {
	b.topic.Depose(0)
	synctest.Wait()
	b.topic.Lead(0)
	synctest.Wait()
}

// scenario runs f in a bubble.
func scenario(t *testing.T, change func(*Config), f func(t *testing.T, b *broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, start(t, change)) })
}

// offsets fetches every offset of a group.
func (b *broker) offsets(group string) (map[topicPartition]int64, protocol.ErrorCode) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = group
	req.Groups = []kmsg.OffsetFetchRequestGroup{rg}
	resp := b.OffsetFetch(b.t.Context(), req).Groups[0]
	out := map[topicPartition]int64{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out[topicPartition{t.Topic, p.Partition}] = p.Offset
		}
	}
	return out, protocol.ErrorCode(resp.ErrorCode)
}

func (b *broker) describe(group string) kmsg.DescribeGroupsResponseGroup {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	return b.DescribeGroups(b.t.Context(), req).Groups[0]
}

func (b *broker) wantState(want state) {
	b.t.Helper()
	if got := b.describe("g").State; got != want.String() {
		b.t.Errorf("state %s, want %s", got, want)
	}
}

func (b *broker) wantOffsets(group string, want map[topicPartition]int64) {
	b.t.Helper()
	got, code := b.offsets(group)
	if code != protocol.None || !maps.Equal(got, want) {
		b.t.Errorf("offsets of %q: %v, %v, want %v", group, got, code, want)
	}
}

// peek reads the machine's memory.
func peek[R any](t *testing.T, b *broker, f func(*machine) R) R {
	t.Helper()
	got, err := coordinator.Do(t.Context(), b.shards, 0, "", func(m *machine, _ *coordinator.Turn, r coordinator.Reply[R]) {
		r.Send(f(m))
	})
	if err != nil {
		t.Errorf("peek: %v", err)
	}
	return got
}
