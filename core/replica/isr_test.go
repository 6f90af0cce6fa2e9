package replica

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

type images struct{ img *metadata.Image }

func (i *images) Current() *metadata.Image { return i.img }

func (i *images) replay(t *testing.T, records ...metadata.Record) {
	t.Helper()
	d := metadata.NewDelta(i.img)
	if err := d.ReplayAll(records); err != nil {
		t.Fatal(err)
	}
	i.img = d.Image(i.img.Index+1, 1, consensus.Gate{})
}

// leaderOnly is broker 1 with one partition that it leads, and nothing that runs:
// logs are synced and time passes only when the test says so. Registrations have
// the broker's id as their epoch.
func leaderOnly(t *testing.T, part metadata.PartitionRecord, configs ...string) (*Manager, *Partition, *images) {
	t.Helper()
	imgs := &images{metadata.Empty()}
	for id := int64(1); id <= 3; id++ {
		imgs.replay(t, metadata.RegisterBrokerRecord{ID: int32(id), Epoch: id, Incarnation: metadata.UUID{byte(id)}})
	}
	part.TopicID, part.Leader = metadata.UUID{1}, 1
	imgs.replay(t, metadata.TopicRecord{Name: "orders", ID: part.TopicID}, part)
	for i := 0; i < len(configs); i += 2 {
		r := metadata.ConfigResource{Type: metadata.TopicResource, Name: "orders"}
		imgs.replay(t, metadata.ConfigRecord{Resource: r, Name: configs[i], Value: new(configs[i+1])})
	}
	cfg := DefaultConfig()
	cfg.BrokerID, cfg.DataDir, cfg.FS = 1, t.TempDir(), &faultFS{}
	m := NewManager(cfg, imgs, nil, nil, nil, slog.New(slog.DiscardHandler), nil)
	m.OnImage(nil, imgs.img)
	p, err := m.Partition(part.TopicID, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.close(); err != nil {
			t.Error(err)
		}
	})
	return m, p, imgs
}

func TestHighWatermarkIsDurable(t *testing.T) {
	m, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}})
	release := m.cfg.FS.(*faultFS).hold()
	defer release()
	a, err := produce(p, AcksAll, "a")
	if err != nil {
		t.Fatal(err)
	}
	p.advanceHighWatermark(time.Now())
	for _, acks := range []int16{AcksLeader, AcksAll} {
		if done, err := p.acked(a, acks); done {
			t.Errorf("acks=%d before the log was synced: %v", acks, err)
		}
	}
	release()
	p.syncLog(t.Context())
	for _, acks := range []int16{AcksLeader, AcksAll} {
		if done, err := p.acked(a, acks); !done || err != nil {
			t.Errorf("acks=%d after the log was synced: %v, %v", acks, done, err)
		}
	}
}

func TestISRProposal(t *testing.T) {
	type fetch struct {
		after  time.Duration // since the beginning
		id     int32
		offset int64
		epoch  int64
	}
	const lag = 10 * time.Second // DefaultConfig's
	tests := []struct {
		name    string
		isr     []int32
		fetches []fetch
		fenced  int32
		at      time.Duration
		want    []int32 // nil: no change
	}{
		{name: "silent followers have time at first", isr: []int32{1, 2, 3}, at: lag},
		{name: "then they leave", isr: []int32{1, 2, 3}, at: lag + 1, want: []int32{1}},
		{name: "one that fetches stays", isr: []int32{1, 2, 3}, fetches: []fetch{{lag / 2, 2, 3, 2}}, at: lag + 1, want: []int32{1, 2}},
		{name: "one that has everything stays, silent or not", isr: []int32{1, 2}, fetches: []fetch{{0, 2, 3, 2}}, at: 9 * lag},
		{name: "one that fetches and is always behind leaves", isr: []int32{1, 2}, fetches: []fetch{{0, 2, 1, 2}, {lag, 2, 2, 2}}, at: lag + 1, want: []int32{1}},
		{name: "one that keeps pace stays", isr: []int32{1, 2}, fetches: []fetch{{0, 2, 1, 2}, {lag, 2, 3, 2}}, at: lag + 1},
		{name: "one that has everything joins", isr: []int32{1}, fetches: []fetch{{0, 2, 3, 2}}, want: []int32{1, 2}},
		{name: "one change at a time", isr: []int32{1}, fetches: []fetch{{0, 2, 2, 2}, {0, 3, 3, 3}, {1, 2, 3, 2}}, want: []int32{1, 3}},
		{name: "not below the start of the leader's epoch", isr: []int32{1}, fetches: []fetch{{0, 2, 0, 2}}},
		{name: "not while fenced", isr: []int32{1}, fetches: []fetch{{0, 2, 3, 2}}, fenced: 2},
		{name: "not as a process that the image does not know yet", isr: []int32{1}, fetches: []fetch{{0, 2, 3, 9}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, p, imgs := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2, 3}, ISR: tt.isr})
			if tt.fenced != 0 {
				imgs.replay(t, metadata.BrokerChangeRecord{ID: tt.fenced, Epoch: int64(tt.fenced), Fenced: new(true)})
			}
			if _, err := p.Append(batchOf("a", "b", "c"), AcksLeader, AppendOptions{}); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			l := p.leadership.Load()
			// As if it had begun with what is there now.
			begun := *l
			begun.epochStart = 3
			p.mu.Lock()
			p.followers = newFollowers(l, start)
			p.leadership.Store(&begun)
			p.mu.Unlock()
			for _, f := range tt.fetches {
				p.followerFetched(l, fetchOf(f.id, f.epoch, f.offset, -1), start.Add(f.after))
			}
			p.proposeISR(start.Add(tt.at))
			var got []int32
			if p.change != nil {
				got = p.change.isr
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("proposed ISR is %v, want %v", got, tt.want)
			}
		})
	}
}

// An expansion that is under way may be committed already; a shrink may not be yet.
func TestHighWatermarkCountsTheLargestISR(t *testing.T) {
	_, p, imgs := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1}})
	now := time.Now()
	fetch := func(offset int64) {
		p.followerFetched(p.leadership.Load(), fetchOf(2, 2, offset, -1), now)
	}
	fetch(0) // joins an empty log
	if p.change == nil {
		t.Fatal("no expansion is proposed")
	}
	if _, err := produce(p, AcksLeader, "a"); err != nil {
		t.Fatal(err)
	}
	p.syncLog(t.Context())
	later := now.Add(time.Hour) // nobody is caught up any more
	p.advanceHighWatermark(later)
	if got := p.State().HighWatermark; got != 0 {
		t.Errorf("high watermark is %d without the follower that may have joined", got)
	}
	p.isrAnswered(p.change.partitionEpoch, protocol.IneligibleReplica, later)
	imgs.replay(t, metadata.BrokerChangeRecord{ID: 2, Epoch: 2, Fenced: new(true)})
	p.proposeISR(later.Add(2 * isrRetry))
	p.advanceHighWatermark(later)
	if got := p.State().HighWatermark; got != 1 {
		t.Errorf("high watermark is %d after the controller refused, want 1", got)
	}
}

func TestISRAnswers(t *testing.T) {
	tests := []struct {
		code  protocol.ErrorCode
		stays bool // the change stands until an image ends it
	}{
		{protocol.None, true},
		{protocol.InvalidUpdateVersion, true},
		{protocol.FencedLeaderEpoch, true},
		{protocol.UnknownTopicID, true},
		{protocol.UnknownServerError, true},
		{protocol.IneligibleReplica, false},
		{protocol.OperationNotAttempted, false},
	}
	for _, tt := range tests {
		t.Run(tt.code.String(), func(t *testing.T) {
			m, p, imgs := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1, 2}, ISR: []int32{1}})
			now := time.Now()
			p.followerFetched(p.leadership.Load(), fetchOf(2, 2, 0, -1), now)
			req, _, ok := p.isrRequest(now)
			if !ok || len(req.NewEpochISR) != 2 || req.NewEpochISR[1].BrokerEpoch != 2 {
				t.Fatalf("request is %+v, %v", req, ok)
			}
			if _, wait, ok := p.isrRequest(now); ok || wait <= 0 {
				t.Error("a second request at once")
			}
			p.isrAnswered(req.PartitionEpoch, tt.code, now)
			if _, _, ok := p.isrRequest(now.Add(isrRetry)); ok != tt.stays {
				t.Errorf("asks again: %v, want %v", ok, tt.stays)
			}
			imgs.replay(t, metadata.PartitionChangeRecord{TopicID: p.key.topic, ISR: []int32{1, 2}})
			m.OnImage(nil, imgs.img)
			if p.change != nil {
				t.Error("the image did not end the change")
			}
		})
	}
}
