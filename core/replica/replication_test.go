package replica

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol"
)

func testCluster(t *testing.T, brokers int32, config func(*Config)) *cluster {
	t.Helper()
	c := newCluster(t, t.TempDir(), brokers, config)
	t.Cleanup(c.close)
	return c
}

func TestFollowersCopyTheLeader(t *testing.T) {
	c := testCluster(t, 3, func(cfg *Config) { cfg.ReplicaLagTimeMax = time.Hour }) // who is slow stays
	topic := c.topic("orders", 1, []int32{1, 2, 3})
	leader := c.on(1, topic)
	var last Appended
	for _, v := range []string{"a", "b", "c"} {
		last = c.mustProduce(leader, AcksAll, v)
	}
	for id := range c.nodes {
		if got := c.on(id, topic).wal.Durable(); got < last.End {
			t.Errorf("broker %d: acknowledged %d, durable only %d", id, last.End, got)
		}
		c.awaitMark(id, topic, last.End)
		if got := valuesOf(t, c.on(id, topic), last.End); len(got) != 3 || got[2] != "c" {
			t.Errorf("broker %d: records are %q", id, got)
		}
	}
}

func TestAcksAllWaitsForTheISR(t *testing.T) {
	c := testCluster(t, 2, func(cfg *Config) { cfg.ReplicaLagTimeMax = time.Hour })
	topic := c.topic("orders", 1, []int32{1, 2})
	c.isolate(2, true)
	leader := c.on(1, topic)
	a, err := produce(leader, AcksAll, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.AwaitAcks(t.Context(), a, AcksLeader); err != nil {
		t.Errorf("acks=1 with a silent follower: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantCode(t, leader.AwaitAcks(ctx, a, AcksAll), protocol.RequestTimedOut)
	if got := leader.State().HighWatermark; got != 0 {
		t.Errorf("high watermark is %d although a member of the ISR has nothing", got)
	}
	c.isolate(2, false)
	if err := leader.AwaitAcks(t.Context(), a, AcksAll); err != nil {
		t.Errorf("acks=all after the follower came back: %v", err)
	}
}

func TestISRShrinksAndGrows(t *testing.T) {
	c := testCluster(t, 3, func(cfg *Config) { cfg.ReplicaLagTimeMax = 3 * time.Second }) // but not who is just slow
	topic := c.topic("orders", 1, []int32{1, 2, 3}, "min.insync.replicas", "2")
	leader := c.on(1, topic)
	c.mustProduce(leader, AcksAll, "a")
	c.isolate(3, true)
	c.mustProduce(leader, AcksAll, "b") // as soon as 3 is out
	c.awaitISR(topic, 1, 2)

	c.isolate(2, true)
	waiting, err := produce(leader, AcksAll, "c")
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, leader.AwaitAcks(t.Context(), waiting, AcksAll), protocol.NotEnoughReplicasAfterAppend)
	_, err = produce(leader, AcksAll, "refused")
	wantCode(t, err, protocol.NotEnoughReplicas)
	if got := leader.State().HighWatermark; got != 2 {
		t.Errorf("high watermark under min.insync.replicas is %d, want 2", got)
	}
	c.mustProduce(leader, AcksLeader, "d")

	c.isolate(2, false)
	c.isolate(3, false)
	c.awaitISR(topic, 1, 2, 3)
	c.awaitMark(1, topic, 4)
	c.mustProduce(leader, AcksAll, "e")
}

func TestFormerLeaderTruncatesByEpoch(t *testing.T) {
	c := testCluster(t, 3, func(cfg *Config) { cfg.ReplicaLagTimeMax = time.Hour })
	topic := c.topic("orders", 1, []int32{1, 2, 3})
	c.mustProduce(c.on(1, topic), AcksAll, "both")
	c.isolate(1, true)
	lost, err := produce(c.on(1, topic), AcksAll, "only on 1", "and this")
	if err != nil {
		t.Fatal(err)
	}
	c.fence(1)
	wantCode(t, c.on(1, topic).AwaitAcks(t.Context(), lost, AcksAll), protocol.NotLeaderOrFollower)
	for _, v := range []string{"new 1", "new 2", "new 3"} {
		c.mustProduce(c.on(2, topic), AcksAll, v)
	}
	c.isolate(1, false)
	b, _ := c.image.Load().Broker(1)
	c.commit(metadata.BrokerChangeRecord{ID: 1, Epoch: b.Epoch, Fenced: new(false)})
	c.awaitISR(topic, 1, 2, 3)
	want := valuesOf(t, c.on(2, topic), 4)
	c.await("broker 1 has the new leader's log", func() bool { return c.on(1, topic).wal.End() == 4 })
	if got := valuesOf(t, c.on(1, topic), 4); len(got) != 4 || got[1] != want[1] {
		t.Errorf("former leader has %q, new leader %q", got, want)
	}
}

// Broker 2 leads for a moment and writes nothing. The record that broker 1 wrote
// in the epoch before is then of an epoch that is older than broker 2's latest.
func TestEpochWithoutRecordsIsForgotten(t *testing.T) {
	c := testCluster(t, 2, func(cfg *Config) { cfg.ReplicaLagTimeMax = time.Hour })
	topic := c.topic("orders", 1, []int32{1, 2})
	c.mustProduce(c.on(1, topic), AcksAll, "a")
	c.isolate(2, true)
	c.mustProduce(c.on(1, topic), AcksLeader, "b")
	c.elect(topic, 2)
	c.elect(topic, 1)
	c.isolate(2, false)
	c.awaitMark(2, topic, 2)
	if got := valuesOf(t, c.on(2, topic), 2); got[1] != "b" {
		t.Errorf("records are %q", got)
	}
}

func TestTopicCreatedAgainStartsEmpty(t *testing.T) {
	c := testCluster(t, 2, nil)
	old := c.topic("orders", 1, []int32{1, 2})
	p := c.on(1, old)
	c.mustProduce(p, AcksAll, "old")
	fresh := metadata.UUID{2}
	c.commit(
		metadata.RemoveTopicRecord{ID: old},
		metadata.TopicRecord{Name: "orders", ID: fresh},
		metadata.PartitionRecord{TopicID: fresh, Replicas: []int32{2, 1}, ISR: []int32{2, 1}, Leader: 2},
	)
	_, err := c.nodes[1].m.Partition(old, 0)
	wantCode(t, err, protocol.UnknownTopicID)
	_, err = produce(p, AcksAll, "late")
	wantCode(t, err, protocol.NotLeaderOrFollower)
	a := c.mustProduce(c.on(2, fresh), AcksAll, "new")
	if a.First != 0 {
		t.Errorf("first offset of the new topic is %d", a.First)
	}
	c.awaitMark(1, fresh, 1)
}

func TestTopicCreatedAgainWhileDown(t *testing.T) {
	c := testCluster(t, 2, nil)
	old := c.topic("orders", 1, []int32{1, 2})
	c.mustProduce(c.on(1, old), AcksAll, "old")
	c.nodes[2].halt()
	c.fence(2)
	fresh := metadata.UUID{2}
	c.commit(
		metadata.RemoveTopicRecord{ID: old},
		metadata.TopicRecord{Name: "orders", ID: fresh},
		metadata.PartitionRecord{TopicID: fresh, Replicas: []int32{1, 2}, ISR: []int32{1}, Leader: 1},
	)
	c.mustProduce(c.on(1, fresh), AcksAll, "new")
	c.start(2)
	c.awaitISR(fresh, 1, 2)
	if got := valuesOf(t, c.on(2, fresh), 1); len(got) != 1 || got[0] != "new" {
		t.Errorf("records are %q", got)
	}
	deadline := time.Now().Add(time.Minute)
	for left := []string{""}; len(left) > 0; {
		if left, _ = filepath.Glob(c.nodes[2].dir + "/*-delete"); len(left) > 0 && time.Now().After(deadline) {
			t.Fatalf("left on disk: %q", left)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRestartAfterPowerCut(t *testing.T) {
	c := testCluster(t, 3, func(cfg *Config) { cfg.ReplicaLagTimeMax = 3 * time.Second })
	topic := c.topic("orders", 1, []int32{1, 2, 3}, "min.insync.replicas", "2")
	for _, v := range []string{"a", "b", "c"} {
		c.mustProduce(c.on(1, topic), AcksAll, v)
	}
	for id := range c.nodes {
		c.crash(id)
	}
	for id := range c.nodes {
		c.fence(id)
	}
	for id := range c.nodes {
		c.start(id)
	}
	c.elect(topic, c.image.Load().Partition(topic, 0).ISR[0])
	leader := c.image.Load().Partition(topic, 0).Leader
	c.awaitISR(topic, 1, 2, 3)
	c.mustProduce(c.on(leader, topic), AcksAll, "d")
	for id := range c.nodes {
		c.awaitMark(id, topic, 4)
		if got := valuesOf(t, c.on(id, topic), 4); len(got) != 4 || got[0] != "a" || got[3] != "d" {
			t.Errorf("broker %d: records are %q", id, got)
		}
	}
}

func TestFollowerThatWasAwayForLongStartsOver(t *testing.T) {
	c := testCluster(t, 2, nil)
	topic := c.topic("orders", 1, []int32{1, 2})
	c.mustProduce(c.on(1, topic), AcksAll, "a")
	c.nodes[2].halt()
	c.fence(2)
	for _, v := range []string{"b", "c", "d"} {
		c.mustProduce(c.on(1, topic), AcksAll, v)
	}
	if err := c.on(1, topic).wal.SetStart(3); err != nil {
		t.Fatal(err)
	}
	c.start(2)
	c.awaitISR(topic, 1, 2)
	if s := c.on(2, topic).State(); s.Start != 3 || s.End != 4 {
		t.Errorf("follower has [%d, %d), want [3, 4)", s.Start, s.End)
	}
}

func TestNewPartitionNeedNotWaitForTheLongPoll(t *testing.T) {
	c := testCluster(t, 2, func(cfg *Config) { cfg.FetchMaxWait = time.Hour; cfg.ReplicaLagTimeMax = 2 * time.Hour })
	c.topic("quiet", 1, []int32{1, 2})
	c.await("the follower is in its long poll", func() bool { return c.fetching.Load() > 0 })
	topic := c.topic("orders", 2, []int32{1, 2})
	c.mustProduce(c.on(1, topic), AcksAll, "a")
}

func TestHistoryIsIgnored(t *testing.T) {
	c := testCluster(t, 1, nil)
	topic := c.topic("orders", 1, []int32{1})
	c.mustProduce(c.on(1, topic), AcksAll, "a")
	now := c.image.Load()
	n := c.nodes[1]
	n.halt()

	cfg := n.m.cfg
	epoch := int64(-1)
	m := NewManager(cfg, nodeImages{c}, peersOf{n}, isrOf{n}, func() int64 { return epoch }, n.m.log, nil)
	m.OnImage(metadata.Empty(), metadata.Empty()) // before the topic existed
	m.OnImage(metadata.Empty(), now)              // led by the process before
	if _, err := m.Partition(topic, 0); err == nil {
		t.Error("a broker without registration leads by an old image")
	}
	if _, ok, err := wal.ReadTopicID(filepath.Join(cfg.DataDir, "orders-0")); !ok || err != nil {
		t.Errorf("an old image deleted a log: %v, %v", ok, err)
	}
}
