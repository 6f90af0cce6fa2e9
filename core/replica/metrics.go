package replica

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what operators watch. What is a property of the partitions is
// counted when it is asked for.
type metrics struct {
	isrShrinks, isrExpands prometheus.Counter
	fetchErrors            prometheus.Counter
	fetchLag               *prometheus.GaugeVec
}

func newMetrics(m *Manager, reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	ms := &metrics{
		isrShrinks:  counter("quorate_replica_isr_shrinks_total", "Times that a follower left the in-sync replicas of a partition led here."),
		isrExpands:  counter("quorate_replica_isr_expands_total", "Times that a follower joined the in-sync replicas of a partition led here."),
		fetchErrors: counter("quorate_replica_fetch_errors_total", "Fetches from leaders that failed as a whole."),
		fetchLag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "quorate_replica_fetch_lag_records",
			Help: "Committed records that the furthest behind partition lacked after the last fetch from a leader.",
		}, []string{"leader"}),
	}
	if reg != nil {
		countFiles(m.files, reg)
		reg.MustRegister(ms.isrShrinks, ms.isrExpands, ms.fetchErrors, ms.fetchLag)
		for _, g := range []struct {
			name, help string
			counts     func(*Partition, *leadership) bool
		}{
			{"quorate_replica_partitions", "Replicas on this broker.", func(*Partition, *leadership) bool { return true }},
			{"quorate_replica_leaders", "Partitions led here.", func(_ *Partition, l *leadership) bool { return l.mine }},
			{"quorate_replica_under_replicated_partitions", "Partitions led here with replicas out of sync.", func(_ *Partition, l *leadership) bool { return l.mine && len(l.isr) < len(l.replicas) }},
			{"quorate_replica_under_min_isr_partitions", "Partitions led here that refuse acks=all.", func(_ *Partition, l *leadership) bool { return l.mine && l.underMinISR() }},
			{"quorate_replica_offline_partitions", "Replicas here whose partition has no leader.", func(_ *Partition, l *leadership) bool { return l.leader < 0 }},
		} {
			reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return m.countPartitions(g.counts) }))
		}
	}
	return ms
}

func (m *Manager) countPartitions(counts func(*Partition, *leadership) bool) float64 {
	n := 0
	for _, p := range *m.partitions.Load() {
		if l := p.leadership.Load(); l != nil && counts(p, l) {
			n++
		}
	}
	return float64(n)
}

func (ms *metrics) setFetchLag(leader int32, records int64) {
	ms.fetchLag.WithLabelValues(strconv.Itoa(int(leader))).Set(float64(records))
}

func (ms *metrics) dropFetchLag(leader int32) {
	ms.fetchLag.DeleteLabelValues(strconv.Itoa(int(leader)))
}
