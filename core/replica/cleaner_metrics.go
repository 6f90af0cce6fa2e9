package replica

import "github.com/prometheus/client_golang/prometheus"

// cleanerMetrics count compactions.
type cleanerMetrics struct {
	runs, failures, read, written, removed prometheus.Counter
	dirtiest                               prometheus.Gauge
}

func newCleanerMetrics(m *Manager, reg prometheus.Registerer) cleanerMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	ms := cleanerMetrics{
		runs:     counter("quorate_log_cleaner_runs_total", "Compactions of a log."),
		failures: counter("quorate_log_cleaner_failures_total", "Compactions that failed."),
		read:     counter("quorate_log_cleaner_read_bytes_total", "Bytes of segments that were compacted."),
		written:  counter("quorate_log_cleaner_written_bytes_total", "Bytes that were left of them."),
		removed:  counter("quorate_log_cleaner_removed_records_total", "Records that compaction removed."),
		dirtiest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "quorate_log_cleaner_max_dirty_ratio",
			Help: "The largest share of bytes that no compaction has seen, of the logs that are compacted.",
		}),
	}
	if reg != nil {
		reg.MustRegister(ms.runs, ms.failures, ms.read, ms.written, ms.removed, ms.dirtiest,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "quorate_log_cleaner_uncleanable_partitions",
				Help: "Replicas here that could not be compacted and are set aside.",
			}, func() float64 {
				return m.countPartitions(func(p *Partition, _ *leadership) bool { return p.uncleanable.Load() })
			}))
	}
	return ms
}
