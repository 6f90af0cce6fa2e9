package etcdraft

import (
	"fmt"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	if m := New().(*Backend).Metrics(); len(m) != 0 {
		t.Errorf("metrics before the start: %v", m)
	}
	c := newCluster(t, 3, "", nil)
	c.openAll()
	for range 10 {
		c.commit([]byte("x"))
	}
	leader, _ := c.leader(c.groups)
	c.saveSnapshot(leader, "state")
	down := (leader + 1) % 3
	c.stop(down)
	find := func(name string, labels map[string]string) (consensus.Metric, bool) {
		for _, m := range c.backends[leader].Metrics() {
			if m.Name == name && fmt.Sprint(m.Labels) == fmt.Sprint(labels) {
				return m, true
			}
		}
		return consensus.Metric{}, false
	}
	peer := map[string]string{"peer": fmt.Sprint(down + 1)}
	group := func(more ...string) map[string]string {
		labels := map[string]string{"group": "1"}
		if len(more) > 0 {
			labels[more[0]] = more[1]
		}
		return labels
	}
	tests := []struct {
		name     string
		labels   map[string]string
		counter  bool
		positive bool // in the end; otherwise it only has to be there
	}{
		{"log_written_bytes_total", nil, true, true},
		{"log_syncs_total", nil, true, true},
		{"log_sync_in_progress_seconds", nil, false, false},
		{"log_sync_seconds", map[string]string{"quantile": "0.5"}, false, true},
		{"log_sync_seconds", map[string]string{"quantile": "0.99"}, false, true},
		{"log_sync_seconds", map[string]string{"quantile": "1"}, false, true},
		{"peer_messages_dropped_total", peer, true, true},
		{"peer_queue_length", peer, false, false},
		{"peer_last_contact_seconds", peer, false, true},
		{"log_bytes", group(), false, true},
		{"proposals_in_flight", group(), false, false},
		{"proposals_in_flight_bytes", group(), false, false},
		{"proposals_total", group("outcome", "committed"), true, true},
		{"proposals_total", group("outcome", "rejected"), true, false},
		{"proposals_total", group("outcome", "unknown"), true, false},
		{"leader_changes_total", group(), true, true},
		{"leaders_gone_total", group(), true, false},
		{"snapshots_total", group("kind", "saved"), true, true},
		{"snapshots_total", group("kind", "sent"), true, false},
		{"snapshots_total", group("kind", "installed"), true, false},
		{"snapshots_total", group("kind", "send_failed"), true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name+fmt.Sprint(tt.labels), func(t *testing.T) {
			eventually(t, "the metric", func() bool {
				m, ok := find(tt.name, tt.labels)
				return ok && m.Counter == tt.counter && (m.Value > 0 || !tt.positive)
			})
		})
	}
}
