package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/quorate/quorate/protocol/record"
)

// latest is the last value of every key on a replica, and how many records it has.
func latest(t *testing.T, p *Partition) (values map[string]string, records int) {
	t.Helper()
	b, err := bytesOf(p, p.wal.End())
	if err != nil {
		t.Fatal(err)
	}
	values = map[string]string{}
	for batch := range record.Split(b) {
		for r, err := range batch.Records(record.DefaultDecompressLimits()) {
			if err != nil {
				t.Fatal(err)
			}
			values[string(r.Key)] = string(r.Value)
			records++
		}
	}
	return values, records
}

// Every broker compacts its replicas; one that was away copies a log with gaps, joins
// the ISR, and leads.
func TestCompactedLogIsReplicated(t *testing.T) {
	c := testCluster(t, 3, func(cfg *Config) { cfg.CleanerBackoff = 5 * time.Millisecond })
	topic := c.topic("state", 1, []int32{1, 2, 3}, "cleanup.policy", "compact", "segment.bytes", "400", "min.cleanable.dirty.ratio", "0.01")
	c.isolate(3, true)
	leader := c.on(1, topic)
	c.mustAppendLocal(leader, keyed("key0", "first")) // what the third has not
	c.awaitISR(topic, 1, 2)
	want := map[string]string{}
	put := func(p *Partition, i int) {
		t.Helper()
		key, value := fmt.Sprint("key", i%7), fmt.Sprint("value", i)
		a, err := p.Append(keyed(key, value), AcksAll, AppendOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.AwaitAcks(ctx, a, AcksAll); err != nil {
			t.Fatal(err)
		}
		want[key] = value
	}
	for i := range 120 {
		put(leader, i)
	}
	for _, id := range []int32{1, 2} {
		c.await(fmt.Sprintf("broker %d has compacted its log", id), func() bool {
			_, records := latest(t, c.on(id, topic))
			return records < 30
		})
	}
	c.isolate(3, false)
	c.awaitISR(topic, 1, 2, 3)
	c.elect(topic, 3)
	for i := range 30 {
		put(c.on(3, topic), 1000+i)
	}
	for id := range c.nodes {
		c.await(fmt.Sprintf("broker %d has everything", id), func() bool { return c.on(id, topic).wal.End() == 151 })
		if got, _ := latest(t, c.on(id, topic)); !maps.Equal(got, want) {
			t.Errorf("broker %d has %v, want %v", id, got, want)
		}
		if p := c.on(id, topic); p.uncleanable.Load() {
			t.Errorf("broker %d has set its log aside", id)
		}
	}
}

// A log that cannot be compacted is set aside, and only that.
func TestUncleanableLogIsSetAside(t *testing.T) {
	c := testCluster(t, 1, nil)
	topic := c.topic("state", 1, []int32{1}, "cleanup.policy", "compact")
	p := c.on(1, topic)
	p.cleanFailed(errors.New("a batch that nobody can read"))
	if due, _ := p.m.dirtyLogs(); !p.uncleanable.Load() || len(due) > 0 {
		t.Errorf("set aside: %v, due: %d", p.uncleanable.Load(), len(due))
	}
	if _, err := p.Append(keyed("a", "b"), AcksLeader, AppendOptions{}); err != nil {
		t.Errorf("append: %v", err)
	}
}

func TestThrottle(t *testing.T) {
	l := throttle{perSecond: 1 << 20}
	began := time.Now()
	for range 4 {
		if err := l.wait(t.Context(), 16<<10); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Errorf("64 KiB at 1 MiB/s took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.wait(ctx, 1<<30); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
