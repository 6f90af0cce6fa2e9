package replica

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what operators watch. What is a property of the partitions is
// counted when it is asked for.
type metrics struct {
	isrShrinks, isrExpands prometheus.Counter
	fetchErrors            prometheus.Counter
	fetchLag               *prometheus.GaugeVec
	cleaner                cleanerMetrics
	reports                prometheus.Counter
	appends, appendedBytes *prometheus.CounterVec
	leader, follower       appendMetrics
	produceStages          *prometheus.HistogramVec
	fetchStages            *prometheus.HistogramVec

	validate, append, localSync, replication prometheus.Observer
	fetches                                  [2]fetchStages // of consumers and of followers
}

// appendMetrics are those of one role.
type appendMetrics struct{ appends, bytes prometheus.Counter }

func (a *appendMetrics) count(bytes int) {
	a.appends.Inc()
	a.bytes.Add(float64(bytes))
}

// appended counts an append as leader, and the time of its stages.
func (ms *metrics) appended(bytes int, validate, write time.Duration) {
	ms.leader.count(bytes)
	ms.validate.Observe(validate.Seconds())
	ms.append.Observe(write.Seconds())
}

// fetchStages are the parts of a fetch of one kind of reader.
type fetchStages struct{ read, wait prometheus.Observer }

// stageBuckets are those of the histograms of stages: 20 us to 19 s.
var stageBuckets = prometheus.ExponentialBuckets(0.00002, 2.5, 16)

// stages makes the observers of the stages.
func (ms *metrics) stages() {
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: stageBuckets}, labels)
	}
	ms.produceStages = histogram("quorate_produce_stage_seconds", "The parts of the time of an append to one partition.", "stage")
	ms.validate, ms.append = ms.produceStages.WithLabelValues("validate"), ms.produceStages.WithLabelValues("append")
	ms.localSync, ms.replication = ms.produceStages.WithLabelValues("local_sync"), ms.produceStages.WithLabelValues("replication")
	ms.fetchStages = histogram("quorate_fetch_stage_seconds", "The parts of the time of a fetch.", "reader", "stage")
	for i, reader := range []string{"consumer", "follower"} {
		ms.fetches[i] = fetchStages{ms.fetchStages.WithLabelValues(reader, "read"), ms.fetchStages.WithLabelValues(reader, "wait")}
	}
	role := func(name string) appendMetrics {
		return appendMetrics{ms.appends.WithLabelValues(name), ms.appendedBytes.WithLabelValues(name)}
	}
	ms.leader, ms.follower = role("leader"), role("follower")
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
		reports:       counter("quorate_replica_reports_total", "Times that leaders were told what is durable here while a fetch waited there."),
		appends:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "quorate_replica_appends_total", Help: "Appends to partitions, as their leader or as a follower."}, []string{"role"}),
		appendedBytes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "quorate_replica_appended_bytes_total", Help: "Bytes of record batches that were appended."}, []string{"role"}),
	}
	ms.stages()
	ms.cleaner = newCleanerMetrics(m, reg)
	if reg != nil {
		countFiles(m.files, reg)
		reg.MustRegister(ms.isrShrinks, ms.isrExpands, ms.fetchErrors, ms.fetchLag, ms.reports, ms.appends, ms.appendedBytes, ms.produceStages, ms.fetchStages)
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
		reg.MustRegister(
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "quorate_replica_open_transactions",
				Help: "Transactions with records in a partition led here and no marker there yet.",
			}, m.openTransactions),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "quorate_replica_last_stable_offset_lag_records",
				Help: "Committed records that open transactions hide from readers of committed ones, in the partition led here that has most.",
			}, m.lastStableLag),
		)
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

func (m *Manager) openTransactions() float64 {
	n := 0
	for _, p := range *m.partitions.Load() {
		if l := p.leadership.Load(); l != nil && l.mine {
			n += p.wal.OpenTransactions()
		}
	}
	return float64(n)
}

func (m *Manager) lastStableLag() float64 {
	most := int64(0)
	for _, p := range *m.partitions.Load() {
		if l := p.leadership.Load(); l != nil && l.mine {
			mark := p.highWatermark.Load()
			most = max(most, mark-p.wal.LastStable(mark))
		}
	}
	return float64(most)
}

func (ms *metrics) setFetchLag(leader int32, records int64) {
	ms.fetchLag.WithLabelValues(strconv.Itoa(int(leader))).Set(float64(records))
}

func (ms *metrics) dropFetchLag(leader int32) {
	ms.fetchLag.DeleteLabelValues(strconv.Itoa(int(leader)))
}
