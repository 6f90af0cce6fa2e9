package core_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
	"github.com/quorate/quorate/protocol/record"
)

// TestReadCommittedOnTheWire writes transactions into a log as a coordinator and
// producers would, and has clients read it.
func TestReadCommittedOnTheWire(t *testing.T) {
	fake := consensustest.NewFake()
	fake.Elect(1)
	broker, addr := runBrokerItself(t, testConfig(t, int32(fake.ID())), fake)
	b := &testBroker{addr: addr, log: fake}
	ctx := within(t, 60*time.Second)
	created, err := kadm.NewClient(b.client(t)).CreateTopic(ctx, 1, 1, map[string]*string{"segment.bytes": new("4096")}, "orders")
	must(t, err)
	p, err := broker.Replicas().Partition(metadata.UUID(created.ID), 0)
	must(t, err)
	appendAll := func(batches ...record.Batch) {
		t.Helper()
		for _, batch := range batches {
			a, err := p.Append(batch, replica.AcksAll, replica.AppendOptions{Internal: true})
			must(t, err)
			must(t, p.AwaitAcks(ctx, a, replica.AcksAll))
		}
	}
	sequence := map[int64]int32{}
	data := func(id int64, value string) record.Batch {
		b := record.NewBuilder()
		b.SetProducer(id, 0, sequence[id])
		b.SetTransactional()
		b.Add(1000, nil, []byte(value))
		b.Add(1000, nil, []byte(value+"+"))
		sequence[id] += 2
		return record.Batch(b.Bytes())
	}
	var want []string
	for i := range 60 { // three producers, whose transactions overlap; every third aborts
		id := int64(i % 3)
		first, second := fmt.Sprintf("%d/%d", id, i), fmt.Sprintf("%d/%d/second", id, i)
		appendAll(data(id, first))
		if i >= 2 {
			earlier := int64((i - 2) % 3)
			kind := record.Commit
			if (i-2)%4 == 0 {
				kind = record.Abort
			} else {
				want = append(want, fmt.Sprintf("%d/%d", earlier, i-2), fmt.Sprintf("%d/%d+", earlier, i-2),
					fmt.Sprintf("%d/%d/second", earlier, i-2), fmt.Sprintf("%d/%d/second+", earlier, i-2))
			}
			appendAll(data(id, second), record.NewMarker(record.Marker{Type: kind}, earlier, 0, 1000))
		} else {
			appendAll(data(id, second))
		}
	}
	// The last two transactions are open: the first record of the first one is the end.
	offsets := func(isolation int8) int64 {
		t.Helper()
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID, req.IsolationLevel = 5, -1, isolation
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = "orders"
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Timestamp = -1
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		return raw(t, b.addr, req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset
	}
	stable, end := offsets(1), offsets(0)
	if state := p.State(); end != state.HighWatermark || stable >= end {
		t.Errorf("latest offset %d, committed %d; the high watermark is %d", end, stable, state.HighWatermark)
	}
	got := consumeUpTo(ctx, t, b, stable, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("committed records: got %d, want %d:\n%v\n%v", len(got), len(want), got, want)
	}
	if got := consumeUpTo(ctx, t, b, end); len(got) != 60*4 {
		t.Errorf("uncommitted records: got %d, want %d", len(got), 60*4)
	}
}

// consumeUpTo reads the values of the records before an offset, markers excepted.
func consumeUpTo(ctx context.Context, t *testing.T, b *testBroker, end int64, opts ...kgo.Opt) (values []string) {
	t.Helper()
	consumer := b.client(t, append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {0: kgo.NewOffset().AtStart()}}),
		kgo.KeepControlRecords(), kgo.FetchMaxPartitionBytes(700))...)
	for at := int64(0); at < end-1; {
		fetches := consumer.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= end {
				t.Errorf("offset %d is behind the end %d", r.Offset, end)
			}
			at = r.Offset
			if !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
		})
	}
	return values
}

// runBrokerItself is runBroker, and returns the broker too.
func runBrokerItself(t *testing.T, cfg core.Config, fake *consensustest.Fake) (*core.Broker, string) {
	t.Helper()
	var broker *core.Broker
	addr := runBrokerWith(t, cfg, fake, func(b *core.Broker) { broker = b })
	return broker, addr
}
