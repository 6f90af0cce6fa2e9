package hashicorpraft

import (
	"strconv"
	"time"

	"github.com/quorate/quorate/consensus"
)

var _ consensus.Metricser = (*backend)(nil)

// Metrics returns what there is to see beside Status.
func (b *backend) Metrics() []consensus.Metric {
	b.mu.Lock()
	g, s := b.group, b.streams
	b.mu.Unlock()
	var m metrics
	if s != nil {
		s.metrics(&m)
	}
	if g != nil {
		g.metrics(&m)
	}
	return m
}

type metrics []consensus.Metric

func (m *metrics) gauge(name string, value float64, labels ...string) {
	*m = append(*m, consensus.Metric{Name: name, Value: value, Labels: labelSet(labels)})
}

func (m *metrics) counter(name string, value uint64, labels ...string) {
	*m = append(*m, consensus.Metric{Name: name, Counter: true, Value: float64(value), Labels: labelSet(labels)})
}

// labelSet makes a set of names and values that alternate.
func labelSet(pairs []string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	set := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
	}
	return set
}

func (g *group) metrics(m *metrics) {
	name := strconv.FormatUint(uint64(g.spec.ID), 10)
	m.gauge("term", float64(g.raft.CurrentTerm()), "group", name)
	m.gauge("last_index", float64(g.raft.LastIndex()), "group", name)
	m.gauge("commit_index", float64(g.raft.CommitIndex()), "group", name)
	m.gauge("applied_index", float64(g.raft.AppliedIndex()), "group", name)
	if contact := g.raft.LastContact(); !contact.IsZero() {
		m.gauge("leader_last_contact_seconds", time.Since(contact).Seconds(), "group", name)
	}
	loop, sync := g.LoopAge()
	m.gauge("loop_age_seconds", loop.Seconds(), "group", name)
	m.gauge("log_sync_in_progress_seconds", sync.Seconds(), "group", name)
	values, total := g.store.latency.quantiles(time.Now(), 0.5, 0.99, 1)
	for i, q := range []string{"0.5", "0.99", "1"} {
		m.gauge("log_sync_seconds", values[i].Seconds(), "group", name, "quantile", q)
	}
	m.counter("log_syncs_total", total, "group", name)
	m.counter("leaders_gone_total", g.leadersGone.Load(), "group", name)
	m.counter("snapshots_saved_total", g.snapshots.saves.Load(), "group", name)
	m.counter("snapshots_installed_total", g.snapshots.installs.Load(), "group", name)
	for id, c := range g.peers.counters() {
		peer := strconv.FormatUint(id, 10)
		m.counter("peer_request_failures_total", c.failures, "group", name, "peer", peer)
		m.counter("peer_snapshots_sent_total", c.snapshots, "group", name, "peer", peer)
	}
}

func (s *streams) metrics(m *metrics) {
	m.counter("peer_connections_refused_total", s.refused.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, t := range s.traffic {
		peer := strconv.FormatUint(id, 10)
		m.counter("peer_connections_total", t.connections.Load(), "peer", peer)
		m.counter("peer_sent_bytes_total", t.sent.Load(), "peer", peer)
		m.counter("peer_received_bytes_total", t.received.Load(), "peer", peer)
	}
}
