package replica

import (
	"context"
	"testing"
	"time"

	"github.com/quorate/quorate/core/metadata"
)

// fetchOf is what a follower says in a fetch; a negative durable end is not said.
func fetchOf(id int32, epoch, offset, durable int64) ReadRequest {
	r := readAt(offset)
	r.Replica, r.DurableEnd = &Follower{ID: id, Epoch: epoch}, durable
	return r
}

// heldDisks gives every broker a disk of its own, which can be held.
func heldDisks(disks map[int32]*faultFS) func(*Config) {
	return func(cfg *Config) {
		cfg.FetchMaxWait, cfg.ReplicaLagTimeMax = time.Hour, 4*time.Hour // nothing happens by time
		if disks[cfg.BrokerID] == nil {
			disks[cfg.BrokerID] = &faultFS{}
		}
		cfg.FS = disks[cfg.BrokerID]
	}
}

func TestFollowersFetchAheadOfTheirDisks(t *testing.T) {
	disks := map[int32]*faultFS{}
	c := testCluster(t, 2, heldDisks(disks))
	topic := c.topic("orders", 1, []int32{1, 2})
	leader, follower := c.on(1, topic), c.on(2, topic)
	c.mustProduce(leader, AcksAll, "a")
	release := disks[2].hold()
	defer release()
	var last Appended
	for _, v := range []string{"b", "c", "d"} { // the disk is at work on the first
		last = c.mustProduce(leader, AcksLeader, v)
		c.await("the follower has it in its page cache", func() bool { return follower.wal.End() == last.End })
	}
	if durable := follower.wal.Durable(); durable != 1 {
		t.Fatalf("the follower has %d records durably while its disk stands still", durable)
	}
	if s := leader.State(); s.HighWatermark != 1 {
		t.Errorf("high watermark is %d, the follower has 1 record durably", s.HighWatermark)
	}
	release()
	// The follower's fetch waits for records, for an hour.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := leader.AwaitAcks(ctx, last, AcksAll); err != nil {
		t.Errorf("acks=all after the follower's disk has worked: %v", err)
	}
	c.awaitMark(2, topic, last.End)
}

// TestPowerCutBetweenPageCacheAndDisk cuts a follower's power after it has fetched
// records and before they are durable, so shortly that it still is in the ISR, and
// makes it the leader with what it has left. Nothing may have been acknowledged that it
// lost.
func TestPowerCutBetweenPageCacheAndDisk(t *testing.T) {
	disks := map[int32]*faultFS{}
	c := testCluster(t, 3, heldDisks(disks))
	topic := c.topic("orders", 1, []int32{1, 2, 3}, "min.insync.replicas", "2")
	c.mustProduce(c.on(1, topic), AcksAll, "a")
	defer disks[2].hold()()
	b := c.mustProduce(c.on(1, topic), AcksLeader, "b")
	c.await("the followers have it in their page caches", func() bool {
		return c.on(2, topic).wal.End() == b.End && c.on(3, topic).wal.Durable() == b.End
	})
	if done, err := c.on(1, topic).acked(b, AcksAll); done {
		t.Fatalf("acknowledged (%v) before a member of the ISR has it on its disk", err)
	}
	c.crash(2)
	c.isolate(2, true)
	c.start(2)
	c.elect(topic, 2)
	if got := c.on(2, topic).wal.End(); got != 1 {
		t.Fatalf("the new leader has %d records after the power cut, want 1", got)
	}
	c.isolate(2, false)
	last := c.mustProduce(c.on(2, topic), AcksAll, "c")
	for id := range c.nodes {
		c.awaitMark(id, topic, last.End)
		if got := valuesOf(t, c.on(id, topic), last.End); len(got) != 2 || got[0] != "a" || got[1] != "c" {
			t.Errorf("broker %d has %q", id, got)
		}
	}
}

func TestPageCacheCountsWhereTheTopicSaysSo(t *testing.T) {
	for _, sync := range []string{"os", "interval"} {
		t.Run(sync, func(t *testing.T) {
			disks := map[int32]*faultFS{}
			c := testCluster(t, 2, heldDisks(disks))
			topic := c.topic("orders", 1, []int32{1, 2}, "durability.sync", sync)
			defer disks[2].hold()()
			c.mustProduce(c.on(1, topic), AcksAll, "a")
		})
	}
}

// A follower that lost what was not durable says less in its next life, and what its
// last one said late does not count.
func TestDurableEndOfAFollower(t *testing.T) {
	type fetch struct {
		epoch, offset, durable int64
		lastEpoch              int32 // -1: not said
	}
	tests := []struct {
		name    string
		fetches []fetch
		want    int64 // high watermark; the leader has three records durably
	}{
		{name: "the log's end does not count", fetches: []fetch{{2, 3, 0, -1}}, want: 0},
		{name: "the durable end does", fetches: []fetch{{2, 3, 2, -1}}, want: 2},
		{name: "one that does not say it asks from there", fetches: []fetch{{2, 3, -1, -1}}, want: 3},
		{name: "no more than it has", fetches: []fetch{{2, 1, 3, -1}}, want: 1},
		{name: "a report that comes late takes nothing back", fetches: []fetch{{2, 2, 1, -1}, {2, 3, 3, -1}, {2, 2, 2, -1}}, want: 3},
		{name: "a process that was replaced is not heard", fetches: []fetch{{3, 1, 1, -1}, {2, 3, 3, -1}}, want: 1},
		{name: "another log is not counted", fetches: []fetch{{2, 3, 3, 7}}, want: 0},
		{name: "the same log is", fetches: []fetch{{2, 3, 3, 0}}, want: 3},
		{name: "nor one that is longer", fetches: []fetch{{2, 4, 3, 0}}, want: 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1, 2}})
			if _, err := p.Append(batchOf("a", "b", "c"), AcksLeader, AppendOptions{}); err != nil {
				t.Fatal(err)
			}
			p.syncLog(t.Context())
			for _, f := range tt.fetches {
				r := fetchOf(2, f.epoch, f.offset, f.durable)
				r.LastFetchedEpoch = f.lastEpoch
				if res, err := p.Read(r); err != nil {
					t.Fatal(err)
				} else if res.Records != nil {
					res.Records.Release()
				}
			}
			if got := p.State().HighWatermark; got != tt.want {
				t.Errorf("high watermark is %d, want %d", got, tt.want)
			}
		})
	}
}

// A fetch of an epoch that is over says nothing about the log of now.
func TestReportOfAnEpochThatIsOver(t *testing.T) {
	m, p, imgs := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1, 2}})
	if _, err := produce(p, AcksLeader, "a"); err != nil {
		t.Fatal(err)
	}
	p.syncLog(t.Context())
	for _, leader := range []int32{2, 1} {
		imgs.replay(t, metadata.PartitionChangeRecord{TopicID: p.key.topic, Leader: &leader})
		m.OnImage(nil, imgs.img)
	}
	r := fetchOf(2, 2, 1, 1)
	r.CurrentLeaderEpoch = 0
	if _, err := p.Read(r); err == nil {
		t.Error("a fetch of an epoch that is over was served")
	}
	if got := p.State().HighWatermark; got != 0 {
		t.Errorf("high watermark is %d", got)
	}
}

// A follower that is always some fetches behind with its disk keeps pace.
func TestPaceOfASlowDisk(t *testing.T) {
	const lag = 10 * time.Second
	tests := []struct {
		name   string
		behind time.Duration // of the durable end
		want   bool
	}{
		{"a second behind", time.Second, true},
		{"just within the lag", 7 * time.Second, true},
		{"further behind", 11 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1, 2}})
			l := p.leadership.Load()
			start := time.Now()
			f := newFollower()
			f.lastCaughtUp = start
			// A record every 100 ms, and as many fetches.
			for at := time.Duration(0); at < time.Minute; at += 100 * time.Millisecond {
				end := int64(at / (100 * time.Millisecond))
				r := fetchOf(2, 2, end-1, max(0, end-int64(tt.behind/(100*time.Millisecond))))
				f.fetched(l, &r, end, start.Add(at), lag)
				if got := f.caughtUp(l, end, start.Add(at), lag); got != tt.want && at > 2*lag {
					t.Fatalf("after %s: caught up is %v", at, got)
				}
			}
		})
	}
}

// A follower outside of the ISR that was about to join and died holds the high
// watermark for no longer than one that lives may be silent.
func TestMarkIsNotHeldByTheSilent(t *testing.T) {
	m, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1}})
	l := p.leadership.Load()
	begun := *l
	begun.epochStart = 1 // it lacks a record of before, and cannot join yet
	p.leadership.Store(&begun)
	now := time.Now()
	p.mu.Lock()
	f := p.followers[2]
	f.end, f.durable, f.epoch, f.lastFetch, f.lastCaughtUp = 0, 0, 2, now, now
	p.mu.Unlock()
	if _, err := produce(p, AcksLeader, "a"); err != nil {
		t.Fatal(err)
	}
	p.syncLog(t.Context())
	m.releaseMarks(now.Add(m.cfg.silentAfter()))
	if got := p.State().HighWatermark; got != 0 {
		t.Fatalf("high watermark is %d, a follower is about to join that has nothing", got)
	}
	m.releaseMarks(now.Add(m.cfg.silentAfter() + 1))
	if got := p.State().HighWatermark; got != 1 {
		t.Errorf("high watermark is %d after the follower went silent, want 1", got)
	}
}
