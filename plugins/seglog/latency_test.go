package seglog

import (
	"testing"
	"time"
)

func TestSyncLatencyIsThatOfTheLastMinute(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	tests := []struct {
		name string
		took []time.Duration // one a second
		at   time.Duration   // after the start
		want SyncLatency
	}{
		{"none", nil, 0, SyncLatency{}},
		{
			"one",
			[]time.Duration{time.Millisecond},
			time.Second,
			SyncLatency{1, time.Millisecond, time.Millisecond, time.Millisecond},
		},
		{
			"mixed",
			[]time.Duration{100 * time.Microsecond, 100 * time.Microsecond, 5 * time.Millisecond},
			3 * time.Second,
			SyncLatency{3, 128 * time.Microsecond, 5 * time.Millisecond, 5 * time.Millisecond},
		},
		{"longer than any bucket", []time.Duration{time.Hour}, time.Second, SyncLatency{1, time.Hour, time.Hour, time.Hour}},
		{"a minute ago", []time.Duration{time.Millisecond}, 61 * time.Second, SyncLatency{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l latencies
			for i, took := range tt.took {
				l.add(start.Add(time.Duration(i)*time.Second), took)
			}
			if got := l.summary(start.Add(tt.at)); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
