package replica

import (
	"testing"
	"time"

	"github.com/quorate/quorate/core/metadata"
)

// TestFlushOfThePageCache says when a log is synced that acknowledges from the page
// cache, and that it acknowledges at once.
func TestFlushOfThePageCache(t *testing.T) {
	for _, tt := range []struct {
		name    string
		configs []string
		after   time.Duration // when the second look is
		want    bool
	}{
		{"never by itself", nil, time.Hour, false},
		{"after flush.ms", []string{"flush.ms", "1000"}, time.Second, true},
		{"not before flush.ms", []string{"flush.ms", "1000"}, 999 * time.Millisecond, false},
		{"when a segment is full", []string{"segment.bytes", "100"}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}}, append(tt.configs, "durability.sync", "os")...)
			for range 3 {
				a, err := produce(p, AcksAll, "of a batch that fills its segment of a hundred bytes")
				if err != nil {
					t.Fatal(err)
				}
				if done, err := p.acked(a, AcksAll); !done || err != nil {
					t.Errorf("not acknowledged from the page cache: %v", err)
				}
			}
			if p.wal.Durable() != 0 {
				t.Errorf("durable is %d", p.wal.Durable())
			}
			now := time.Now()
			due := p.flushDue(now) || p.flushDue(now.Add(tt.after))
			if due != tt.want {
				t.Errorf("due is %v, want %v", due, tt.want)
			}
			p.syncLog(t.Context())
			if p.flushDue(now.Add(2*time.Hour)) || p.wal.Durable() != 3 {
				t.Errorf("due again, or durable is %d", p.wal.Durable())
			}
		})
	}
}

// TestFlushMessages has the log synced after a number of records; one at a time means
// before each is acknowledged.
func TestFlushMessages(t *testing.T) {
	m, p, _ := leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}}, "durability.sync", "os", "flush.messages", "3")
	m.syncs.pop() // that of the new leader
	p.queued.Store(false)
	for i := range 4 {
		if _, err := produce(p, AcksLeader, "a"); err != nil {
			t.Fatal(err)
		}
		if queued := p.queued.Load(); queued != (i >= 2) {
			t.Errorf("after %d records queued is %v", i+1, queued)
		}
	}
	for _, configs := range [][]string{{"flush.messages", "1"}, {"flush.ms", "0"}} {
		m, p, _ = leaderOnly(t, metadata.PartitionRecord{Replicas: []int32{1}, ISR: []int32{1}}, append(configs, "durability.sync", "os")...)
		release := m.cfg.FS.(*faultFS).hold()
		a, err := produce(p, AcksLeader, "a")
		if err != nil {
			t.Fatal(err)
		}
		if done, _ := p.acked(a, AcksLeader); done {
			t.Errorf("%v: acknowledged before it was synced", configs)
		}
		release()
	}
}
