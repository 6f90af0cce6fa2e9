package replica

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
)

func TestDeleteRecords(t *testing.T) {
	c := testCluster(t, 3, func(cfg *Config) { cfg.FetchMaxWait = 20 * time.Second }) // followers are told, not left to wait
	topic := c.topic("orders", 1, []int32{1, 2, 3}, "segment.bytes", "400")
	p := c.on(1, topic)
	for i := range 40 {
		c.mustProduce(p, AcksAll, strconv.Itoa(i))
	}
	before, err := p.DeleteRecords(25)
	if err != nil || before != 25 {
		t.Fatalf("got %d, %v", before, err)
	}
	ctx, cancel := contextWithin(60 * time.Second)
	defer cancel()
	began := time.Now()
	low, err := p.AwaitLowWatermark(ctx, before)
	if err != nil || low != 25 {
		t.Fatalf("low watermark %d, %v", low, err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the followers were told after %v", took)
	}
	for id := range c.nodes {
		if got := c.on(id, topic).State().Start; got != 25 {
			t.Errorf("broker %d starts at %d", id, got)
		}
		c.await("the files are gone", func() bool { return c.on(id, topic).wal.Size() < 1500 })
	}
	_, err = p.Read(readAt(24))
	wantCode(t, err, protocol.OffsetOutOfRange)
	if got := valuesOf(t, p, 40); !slices.Equal(got[len(got)-15:], numbers(25, 40)) {
		t.Errorf("values from 25 on: got %v", got)
	}
	// It outlives a crash, and a change of the leader.
	c.crash(1)
	c.fence(1)
	c.start(1)
	c.await("there is a leader", func() bool { return c.image.Load().Partition(topic, 0).Leader > 1 })
	if got, _, _, err := c.on(c.image.Load().Partition(topic, 0).Leader, topic).ListOffset(EarliestTimestamp, -1, ReadUncommitted); got != 25 || err != nil {
		t.Errorf("new leader: earliest offset is %d, %v", got, err)
	}
	if got := c.on(1, topic).State().Start; got != 25 {
		t.Errorf("after a crash: starts at %d", got)
	}
}

func keyed(key, value string) []byte {
	b := record.NewBuilder()
	b.Add(1_000, []byte(key), []byte(value))
	return b.Bytes()
}

// mustAppendLocal appends without waiting for anybody.
func (c *cluster) mustAppendLocal(p *Partition, batch []byte) {
	c.t.Helper()
	if _, err := p.Append(batch, AcksLeader, AppendOptions{}); err != nil {
		c.t.Fatalf("append: %v", err)
	}
}

func numbers(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestDeleteRecordsRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		policy  string
		offset  int64
		want    int64
		wantErr protocol.ErrorCode
	}{
		{name: "all that is committed", policy: "delete", offset: HighWatermarkOffset, want: 2},
		{name: "some", policy: "delete", offset: 1, want: 1},
		{name: "nothing", policy: "delete", offset: 0, want: 0},
		{name: "above the high watermark", policy: "delete", offset: 3, wantErr: protocol.OffsetOutOfRange},
		{name: "negative", policy: "delete", offset: -2, wantErr: protocol.OffsetOutOfRange},
		{name: "only compacted", policy: "compact", offset: 1, wantErr: protocol.PolicyViolation},
		{name: "compacted and deleted", policy: "compact,delete", offset: 1, want: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testCluster(t, 2, func(cfg *Config) { cfg.ReplicaLagTimeMax = time.Hour })
			topic := c.topic("orders", 1, []int32{1, 2}, "cleanup.policy", tt.policy)
			p := c.on(1, topic)
			for range 2 {
				a, err := p.Append(keyed("k", "v"), AcksAll, AppendOptions{})
				if err != nil {
					t.Fatal(err)
				}
				c.awaitMark(1, topic, a.End)
			}
			c.isolate(2, true)
			c.mustAppendLocal(p, keyed("k", "not committed"))
			got, err := p.DeleteRecords(tt.offset)
			wantCode(t, err, tt.wantErr)
			if err == nil && (got != tt.want || p.State().Start != tt.want) {
				t.Errorf("got %d, the log starts at %d; want %d", got, p.State().Start, tt.want)
			}
			if err != nil && p.State().Start != 0 {
				t.Errorf("refused, but the log starts at %d", p.State().Start)
			}
			if err != nil || tt.want == 0 {
				return
			}
			// Broker 2 does not answer: the wait ends with the time, and the start stays.
			ctx, cancel := contextWithin(50 * time.Millisecond)
			defer cancel()
			low, err := p.AwaitLowWatermark(ctx, got)
			wantCode(t, err, protocol.RequestTimedOut)
			if low != 0 {
				t.Errorf("low watermark is %d while a live broker starts at 0", low)
			}
			c.fence(2)
			ctx, cancel = contextWithin(60 * time.Second)
			defer cancel()
			if low, err := p.AwaitLowWatermark(ctx, got); err != nil || low != got {
				t.Errorf("without the dead broker: low watermark %d, %v", low, err)
			}
			_, err = c.on(2, topic).DeleteRecords(1)
			wantCode(t, err, protocol.NotLeaderOrFollower)
		})
	}
}
