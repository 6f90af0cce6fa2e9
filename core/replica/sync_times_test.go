package replica

import (
	"context"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"
)

func TestSyncTimes(t *testing.T) {
	var s syncTimes
	start := time.Now()
	for i := range int64(10) {
		s.note(10*i, start.Add(time.Duration(i)*time.Second))
	}
	tests := []struct {
		end  int64
		want time.Time
	}{
		{90, start.Add(9 * time.Second)},
		{81, start.Add(9 * time.Second)},
		{80, start.Add(8 * time.Second)},
		{20, start.Add(2 * time.Second)},
		{5, start.Add(2 * time.Second)}, // of the rounds that are remembered, the first
		{91, time.Time{}},
	}
	for _, tt := range tests {
		if got := s.at(tt.end); !got.Equal(tt.want) {
			t.Errorf("offset %d was durable after %s, want %s", tt.end, got.Sub(start), tt.want.Sub(start))
		}
	}
}

// What an acknowledgement waits for is told apart: this disk, or the followers.
func TestStagesOfAnAcknowledgement(t *testing.T) {
	for _, tt := range []struct {
		name string
		slow int32
		fast int32
	}{{"the leader's disk", 1, 2}, {"a follower's disk", 2, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			disks := map[int32]*faultFS{}
			c := testCluster(t, 2, heldDisks(disks))
			topic := c.topic("orders", 1, []int32{1, 2})
			p, ms := c.on(1, topic), c.nodes[1].m.metrics
			release := disks[tt.slow].hold()
			defer release()
			begun := time.Now()
			a, err := produce(p, AcksAll, "a")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			// The slow disk takes longer than the other did, however busy the machine is.
			fast := c.on(tt.fast, topic)
			go func() {
				for fast.wal.Durable() < a.End && ctx.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				time.AfterFunc(2*time.Since(begun)+10*time.Millisecond, release)
			}()
			if err := p.AwaitAcks(ctx, a, AcksAll); err != nil {
				t.Fatal(err)
			}
			local, replication := sumOf(t, ms.localSync), sumOf(t, ms.replication)
			if (tt.slow == 1) != (local > replication) {
				t.Errorf("local sync took %fs, replication %fs", local, replication)
			}
			if sumOf(t, ms.validate) <= 0 || sumOf(t, ms.append) <= 0 {
				t.Error("validation and append took no time")
			}
		})
	}
}

func sumOf(t *testing.T, o prometheus.Observer) float64 {
	t.Helper()
	var m dto.Metric
	if err := o.(prometheus.Metric).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetHistogram().GetSampleSum()
}
