package etcdraft

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/plugins/seglog"
)

var _ consensus.Metricser = (*Backend)(nil)

// published is what Metrics reads of a backend that has started. It is replaced,
// never changed.
type published struct {
	store     *seglog.Log
	transport *transport
	groups    []*group
}

// publish is for Metrics. The caller holds mu.
func (b *Backend) publish() {
	p := &published{store: b.store, transport: b.transport}
	for _, g := range b.groups {
		p.groups = append(p.groups, g)
	}
	b.published.Store(p)
}

// snapshotCounts are a group's, since it was opened.
type snapshotCounts struct {
	saved, sent, installed, failed atomic.Uint64
}

type metrics []consensus.Metric

func (m *metrics) counter(name string, value float64, labels map[string]string) {
	*m = append(*m, consensus.Metric{Name: name, Counter: true, Value: value, Labels: labels})
}

func (m *metrics) gauge(name string, value float64, labels map[string]string) {
	*m = append(*m, consensus.Metric{Name: name, Value: value, Labels: labels})
}

// Metrics implements consensus.Metricser. It reads what is published: no loop
// and no write to the disk can hold it up.
func (b *Backend) Metrics() []consensus.Metric {
	p := b.published.Load()
	if p == nil {
		return nil
	}
	var m metrics
	m.log(p.store)
	for id, peer := range *p.transport.peers.Load() {
		m.peer(id, peer)
	}
	for _, g := range p.groups {
		m.group(g)
	}
	return m
}

// log adds the log that all groups share. Its syncs are those of the last
// minute; a quantile of 1 is the longest.
func (m *metrics) log(l *seglog.Log) {
	written, syncs := l.Counters()
	m.counter("log_written_bytes_total", float64(written), nil)
	m.counter("log_syncs_total", float64(syncs), nil)
	m.gauge("log_sync_in_progress_seconds", l.SyncAge().Seconds(), nil)
	latency := l.SyncLatency()
	for quantile, d := range map[string]time.Duration{"0.5": latency.P50, "0.99": latency.P99, "1": latency.Max} {
		m.gauge("log_sync_seconds", d.Seconds(), map[string]string{"quantile": quantile})
	}
}

func (m *metrics) peer(id uint64, p *peer) {
	labels := map[string]string{"peer": strconv.FormatUint(id, 10)}
	m.counter("peer_messages_dropped_total", float64(p.dropped.Load()), labels)
	m.gauge("peer_queue_length", float64(len(p.queue)), labels)
	if since := p.sinceContact(); since >= 0 {
		m.gauge("peer_last_contact_seconds", since.Seconds(), labels)
	}
}

func (m *metrics) group(g *group) {
	with := func(name, value string) map[string]string {
		labels := map[string]string{"group": strconv.FormatUint(g.id, 10)}
		if name != "" {
			labels[name] = value
		}
		return labels
	}
	m.gauge("log_bytes", float64(g.logBytes.Load()), with("", ""))
	m.gauge("proposals_in_flight", float64(g.inflight.count.Load()), with("", ""))
	m.gauge("proposals_in_flight_bytes", float64(g.inflight.bytes.Load()), with("", ""))
	for outcome, n := range map[consensus.Outcome]*atomic.Uint64{
		consensus.Committed: &g.committed, consensus.Rejected: &g.rejected, consensus.Unknown: &g.unknown,
	} {
		m.counter("proposals_total", float64(n.Load()), with("outcome", outcome.String()))
	}
	m.counter("leader_changes_total", float64(g.changes.Load()), with("", ""))
	m.counter("leaders_gone_total", float64(g.leadersGone.Load()), with("", ""))
	for kind, n := range map[string]*atomic.Uint64{
		"saved": &g.snapshotCounts.saved, "sent": &g.snapshotCounts.sent,
		"installed": &g.snapshotCounts.installed, "send_failed": &g.snapshotCounts.failed,
	} {
		m.counter("snapshots_total", float64(n.Load()), with("kind", kind))
	}
}
