package replica

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

// read is a consumer's ReadRequest that believes in nothing.
func readAt(offset int64) ReadRequest {
	return ReadRequest{Offset: offset, MaxBytes: 1 << 20, MinOne: true, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, DurableEnd: -1, KnownMark: -1}
}

func replicaAt(id int32, offset int64) ReadRequest {
	r := readAt(offset)
	r.Replica = &Follower{ID: id, Epoch: -1}
	return r
}

func TestRead(t *testing.T) {
	c := testCluster(t, 2, func(cfg *Config) { cfg.ReplicaLagTimeMax = time.Hour })
	topic := c.topic("orders", 1, []int32{1, 2})
	c.elect(topic, 2)
	c.mustProduce(c.on(2, topic), AcksAll, "a", "b") // 0 and 1 in leader epoch 1
	c.elect(topic, metadata.NoLeader)
	c.elect(topic, 1)
	c.awaitMark(1, topic, 2)
	c.isolate(2, true)
	c.mustProduce(c.on(1, topic), AcksLeader, "c") // 2, above the high watermark
	with := func(r ReadRequest, change func(*ReadRequest)) ReadRequest {
		change(&r)
		return r
	}
	tests := []struct {
		name      string
		on        int32
		req       ReadRequest
		want      int // batches
		diverging *EpochEnd
		code      protocol.ErrorCode
	}{
		{name: "a consumer reads up to the high watermark", on: 1, req: readAt(0), want: 1},
		{name: "an offset inside a batch gives the whole batch", on: 1, req: readAt(1), want: 1},
		{name: "between high watermark and end there is nothing yet", on: 1, req: readAt(2)},
		{name: "the end is in range", on: 1, req: readAt(3)},
		{name: "beyond the end is out of range", on: 1, req: readAt(4), code: protocol.OffsetOutOfRange},
		{name: "before the start is out of range", on: 1, req: readAt(-1), code: protocol.OffsetOutOfRange},
		{name: "a follower reads up to the end", on: 1, req: replicaAt(2, 2), want: 1},
		{name: "the first batch is whole", on: 1, req: with(readAt(0), func(r *ReadRequest) { r.MaxBytes = 1 }), want: 1},
		{name: "a batch is never cut", on: 1, req: with(readAt(0), func(r *ReadRequest) { r.MaxBytes, r.MinOne = 1, false })},
		{name: "a broker that is no replica", on: 1, req: replicaAt(7, 0), code: protocol.NotLeaderOrFollower},
		{name: "a process that was replaced", on: 1, req: with(replicaAt(2, 0), func(r *ReadRequest) { r.Replica.Epoch = 0 }), code: protocol.NotLeaderOrFollower},
		{name: "a follower does not serve", on: 2, req: readAt(0), code: protocol.NotLeaderOrFollower},
		{name: "the current epoch", on: 1, req: with(readAt(0), func(r *ReadRequest) { r.CurrentLeaderEpoch = 3 }), want: 1},
		{name: "an epoch that is over", on: 1, req: with(readAt(0), func(r *ReadRequest) { r.CurrentLeaderEpoch = 2 }), code: protocol.FencedLeaderEpoch},
		{name: "an epoch to come", on: 1, req: with(readAt(0), func(r *ReadRequest) { r.CurrentLeaderEpoch = 4 }), code: protocol.UnknownLeaderEpoch},
		{name: "a prefix of the log does not diverge", on: 1, req: with(replicaAt(2, 2), func(r *ReadRequest) { r.LastFetchedEpoch = 1 }), want: 1},
		{name: "an epoch that left nothing here", on: 1, req: with(replicaAt(2, 2), func(r *ReadRequest) { r.LastFetchedEpoch = 0 }), diverging: &EpochEnd{Epoch: 0, EndOffset: 0}},
		{name: "an epoch between two of this log", on: 1, req: with(replicaAt(2, 3), func(r *ReadRequest) { r.LastFetchedEpoch = 2 }), diverging: &EpochEnd{Epoch: 1, EndOffset: 2}},
		{name: "more of an epoch than there is", on: 1, req: with(replicaAt(2, 9), func(r *ReadRequest) { r.LastFetchedEpoch = 1 }), diverging: &EpochEnd{Epoch: 1, EndOffset: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.on(tt.on, topic).Read(tt.req)
			wantCode(t, err, tt.code)
			batches := 0
			for range record.Split(contentOf(got.Records)) {
				batches++
			}
			if batches != tt.want {
				t.Errorf("got %d batches, want %d", batches, tt.want)
			}
			if d := got.Diverging; (d == nil) != (tt.diverging == nil) || d != nil && *d != *tt.diverging {
				t.Errorf("diverging is %v, want %v", d, tt.diverging)
			}
		})
	}
}

func TestFetch(t *testing.T) {
	c := testCluster(t, 1, nil)
	first, second := c.topic("first", 1, []int32{1}), c.topic("second", 2, []int32{1})
	m := c.nodes[1].m
	size := len(batchOf("a"))
	c.mustProduce(c.on(1, first), AcksAll, "a")
	c.mustProduce(c.on(1, second), AcksAll, "a")
	both := func(change func(*FetchPlan)) FetchPlan {
		plan := FetchPlan{MinBytes: 1, MaxBytes: 1 << 20, Parts: []FetchPart{{first, 0, readAt(0)}, {second, 0, readAt(0)}}}
		change(&plan)
		return plan
	}
	tests := []struct {
		name string
		plan FetchPlan
		want []int // bytes
		code protocol.ErrorCode
	}{
		{name: "everything fits", plan: both(func(*FetchPlan) {}), want: []int{size, size}},
		{name: "the first batch is whole above the limit", plan: both(func(p *FetchPlan) { p.MaxBytes = 1 }), want: []int{size, 0}},
		{name: "the limit is for all partitions", plan: both(func(p *FetchPlan) { p.MaxBytes = 2*size - 1 }), want: []int{size, 0}},
		{name: "the first with data gives it whole", plan: both(func(p *FetchPlan) { p.MaxBytes, p.Parts[0].Offset = 1, 1 }), want: []int{0, size}},
		{name: "an error is answered at once", plan: both(func(p *FetchPlan) {
			p.MinBytes, p.MaxWait = 1<<20, time.Hour
			p.Parts[0].Offset = 9
		}), want: []int{0, size}, code: protocol.OffsetOutOfRange},
		{name: "a topic that is not there", plan: both(func(p *FetchPlan) {
			p.MinBytes, p.MaxWait = 1<<20, time.Hour
			p.Parts[0].TopicID = metadata.UUID{9}
		}), want: []int{0, size}, code: protocol.UnknownTopicID},
		{name: "less than the minimum after the wait", plan: both(func(p *FetchPlan) { p.MinBytes, p.MaxWait = 1<<20, time.Millisecond }), want: []int{size, size}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := m.Fetch(t.Context(), tt.plan)
			for i, want := range tt.want {
				if got[i].Records.Size() != want {
					t.Errorf("partition %d has %d bytes, want %d", i, got[i].Records.Size(), want)
				}
			}
			wantCode(t, got[0].Err, tt.code)
		})
	}
}

func TestFetchWaits(t *testing.T) {
	c := testCluster(t, 1, nil)
	topic := c.topic("orders", 1, []int32{1})
	p, m := c.on(1, topic), c.nodes[1].m
	tests := []struct {
		name string
		do   func()
		want protocol.ErrorCode
	}{
		{name: "for records", do: func() { c.mustProduce(p, AcksAll, "a") }},
		{name: "for the end of leadership", do: func() { c.elect(topic, metadata.NoLeader) }, want: protocol.NotLeaderOrFollower},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result := make(chan FetchResult, 1)
			go func() {
				r := readAt(p.State().End)
				result <- m.Fetch(t.Context(), FetchPlan{MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Hour, Parts: []FetchPart{{topic, 0, r}}})[0]
			}()
			c.await("the fetch waits", func() bool { return p.marks.count.Load() > 0 })
			tt.do()
			wantCode(t, (<-result).Err, tt.want)
		})
	}
}

// TestFetchMinBytesOverAll: what is waited for is counted over all partitions, and a
// partition that was not what woke the fetch keeps its records.
func TestFetchMinBytesOverAll(t *testing.T) {
	c := testCluster(t, 1, nil)
	first, second := c.topic("first", 1, []int32{1}), c.topic("second", 2, []int32{1})
	m, size := c.nodes[1].m, len(batchOf("a"))
	c.mustProduce(c.on(1, first), AcksAll, "a")
	results := make(chan []FetchResult, 1)
	go func() {
		results <- m.Fetch(t.Context(), FetchPlan{MinBytes: 3 * size, MaxBytes: 1 << 20, MaxWait: time.Hour, Parts: []FetchPart{
			{first, 0, readAt(0)}, {second, 0, readAt(0)},
		}})
	}()
	c.await("the fetch waits", func() bool { return c.on(1, first).marks.count.Load() > 0 && c.on(1, second).marks.count.Load() > 0 })
	c.mustProduce(c.on(1, second), AcksAll, "b")
	select {
	case <-results:
		t.Fatal("answered with less than was asked for")
	default:
	}
	a := c.mustProduce(c.on(1, second), AcksAll, "c")
	got := <-results
	if got[0].Records.Size() != size || got[1].Records.Size() != 2*size || got[1].HighWatermark != a.End {
		t.Errorf("got %d and %d bytes, high watermark %d; want %d, %d and %d", got[0].Records.Size(), got[1].Records.Size(), got[1].HighWatermark, size, 2*size, a.End)
	}
	for batch, err := range record.Split(contentOf(got[1].Records)) {
		if err != nil || !batch.CheckCRC() {
			t.Errorf("batch at %d: %v", batch.BaseOffset(), err)
		}
	}
	got[0].Records.Release()
}

func TestFetchEndsWithItsContext(t *testing.T) {
	c := testCluster(t, 1, nil)
	topic := c.topic("orders", 1, []int32{1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := c.nodes[1].m.Fetch(ctx, FetchPlan{MinBytes: 1, MaxWait: time.Hour, Parts: []FetchPart{{topic, 0, readAt(0)}}})
	if len(got) != 1 || got[0].Err != nil {
		t.Errorf("results are %+v", got)
	}
}

func TestAppendIsRefused(t *testing.T) {
	c := testCluster(t, 2, nil)
	topic := c.topic("orders", 1, []int32{1, 2}, "max.message.bytes", "200")
	big := make([]byte, 200)
	control := record.NewBuilder()
	control.SetProducer(7, 0, 0)
	control.SetTransactional()
	control.SetControl()
	control.Add(1, []byte{0, 0, 0, 1}, []byte{})
	transactional := record.NewBuilder()
	transactional.SetProducer(7, 0, 0)
	transactional.SetTransactional()
	transactional.Add(1, nil, nil)
	broken := batchOf("a")
	broken[len(broken)-1] ^= 1
	tests := []struct {
		name  string
		on    int32
		batch []byte
		opts  AppendOptions
		want  protocol.ErrorCode
	}{
		{name: "on a follower", on: 2, batch: batchOf("a"), want: protocol.NotLeaderOrFollower},
		{name: "without records", on: 1, want: protocol.InvalidRecord},
		{name: "with a wrong CRC", on: 1, batch: broken, want: protocol.CorruptMessage},
		{name: "above max.message.bytes", on: 1, batch: batchOf(string(big)), want: protocol.MessageTooLarge},
		{name: "with two batches", on: 1, batch: append(batchOf("a"), batchOf("b")...), want: protocol.InvalidRecord},
		{name: "with a marker from a client", on: 1, batch: control.Bytes(), want: protocol.InvalidRecord},
		{name: "of a transaction", on: 1, batch: transactional.Bytes(), want: protocol.InvalidTxnState},
		{name: "of another leader epoch", on: 1, batch: batchOf("a"), opts: AppendOptions{LeaderEpoch: new(int32(9))}, want: protocol.NotLeaderOrFollower},
		{name: "not when all is well", on: 1, batch: batchOf("a"), opts: AppendOptions{LeaderEpoch: new(int32(0))}},
		{name: "not with two batches of a coordinator", on: 1, batch: append(batchOf("a"), batchOf("b")...), opts: AppendOptions{Internal: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.on(tt.on, topic).Append(tt.batch, AcksAll, tt.opts)
			wantCode(t, err, tt.want)
		})
	}
}

// poison is a batch with a true header and CRC whose payload is not what its codec says.
func poison() []byte {
	b := &kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(record.Zstd), FirstTimestamp: 1, MaxTimestamp: 1,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: []byte("this is not zstd"),
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-record.LogOverhead))
	record.Batch(raw).SetMaxTimestamp(1) // signs
	return raw
}

// TestAppendChecksRecords is about what the header of a batch does not tell.
func TestAppendChecksRecords(t *testing.T) {
	tests := []struct {
		name   string
		topic  []string
		config func(*Config)
		batch  []byte
		opts   AppendOptions
		want   protocol.ErrorCode
	}{
		{name: "a payload that is not what its codec says", batch: poison(), want: protocol.InvalidRecord},
		{name: "the same, if the check is off", config: func(c *Config) { c.SkipRecordCheck = true }, batch: poison()},
		{name: "the same, from a coordinator", batch: poison(), opts: AppendOptions{Internal: true}},
		{name: "no key", batch: batchOf("a")},
		{name: "no key on a compacted topic", topic: []string{"cleanup.policy", "compact"}, batch: batchOf("a"), want: protocol.InvalidRecord},
		{name: "no key on one that also deletes", topic: []string{"cleanup.policy", "compact,delete"}, batch: batchOf("a"), want: protocol.InvalidRecord},
		{name: "too old", topic: []string{"message.timestamp.before.max.ms", "1000"}, batch: batchOf("a"), want: protocol.InvalidTimestamp},
		{name: "too old, but the broker's time counts", topic: []string{"message.timestamp.before.max.ms", "1000", "message.timestamp.type", "LogAppendTime"}, batch: batchOf("a")},
		{name: "an hour ahead", batch: batchAt(time.Now().Add(59 * time.Minute))},
		{name: "more than an hour ahead", batch: batchAt(time.Now().Add(61 * time.Minute)), want: protocol.InvalidTimestamp},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := testCluster(t, 1, tt.config)
			p := c.on(1, c.topic("orders", 1, []int32{1}, tt.topic...))
			_, err := p.Append(tt.batch, AcksAll, tt.opts)
			wantCode(t, err, tt.want)
			if end := p.State().End; (end == 0) != (tt.want != protocol.None) {
				t.Errorf("the log ends at %d", end)
			}
		})
	}
}

func batchAt(when time.Time) []byte {
	b := record.NewBuilder()
	b.Add(when.UnixMilli(), []byte("k"), nil)
	return b.Bytes()
}

// TestMaxTimestampIsTrue: the time index believes the header, so that must not lie.
func TestMaxTimestampIsTrue(t *testing.T) {
	c := testCluster(t, 1, nil)
	p := c.on(1, c.topic("orders", 1, []int32{1}))
	b := record.Batch(batchOf("a"))
	b.SetMaxTimestamp(77_000)
	a, err := p.Append(b, AcksLeader, AppendOptions{})
	if err != nil || a.MaxTimestamp != 1000 {
		t.Fatalf("largest timestamp %d, %v; the records' is 1000", a.MaxTimestamp, err)
	}
	if got, err := p.ReadLocal(0, 1000); err != nil || !record.Batch(got).CheckCRC() {
		t.Errorf("stored with a wrong CRC: %v", err)
	}
}

func TestListOffset(t *testing.T) {
	c := testCluster(t, 2, func(cfg *Config) { cfg.ReplicaLagTimeMax = time.Hour })
	topic := c.topic("orders", 1, []int32{1, 2})
	p := c.on(1, topic)
	for _, ts := range []int64{100, 300, 200} {
		b := record.NewBuilder()
		b.Add(ts, nil, nil)
		a, err := p.Append(b.Bytes(), AcksAll, AppendOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.AwaitAcks(t.Context(), a, AcksAll); err != nil {
			t.Fatal(err)
		}
	}
	c.isolate(2, true)
	c.mustProduce(p, AcksLeader, "above the high watermark") // timestamp 1000
	tests := []struct {
		name              string
		timestamp         int64
		offset, foundTime int64
	}{
		{"latest", LatestTimestamp, 3, -1},
		{"earliest", EarliestTimestamp, 0, -1},
		{"earliest local", EarliestLocalTimestamp, 0, -1},
		{"at a timestamp", 100, 0, 100},
		{"after a timestamp", 101, 1, 300},
		{"not above the high watermark", 301, -1, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			offset, found, _, err := p.ListOffset(tt.timestamp, -1, ReadUncommitted)
			if err != nil || offset != tt.offset || found != tt.foundTime {
				t.Errorf("got %d at %d, %v; want %d at %d", offset, found, err, tt.offset, tt.foundTime)
			}
		})
	}
}

func TestLeadershipIsTold(t *testing.T) {
	c := testCluster(t, 0, nil)
	c.nodes[1] = &node{c: c, id: 1, dir: t.TempDir()}
	type call struct {
		leader bool
		epoch  int32
	}
	var calls []call
	c.listen = func(m *Manager) {
		m.OnLeadership("orders", func(_ int32, leader bool, epoch int32) { calls = append(calls, call{leader, epoch}) })
	}
	c.start(1)
	c.topic("other", 2, []int32{1})
	topic := c.topic("orders", 1, []int32{1})
	c.elect(topic, metadata.NoLeader)
	c.elect(topic, 1)
	c.commit(metadata.RemoveTopicRecord{ID: topic})
	want := []call{{true, 0}, {false, 1}, {true, 2}, {false, 2}}
	if len(calls) != len(want) {
		t.Fatalf("calls are %v, want %v", calls, want)
	}
	for i := range want {
		if calls[i] != want[i] {
			t.Errorf("call %d is %v, want %v", i, calls[i], want[i])
		}
	}
}
