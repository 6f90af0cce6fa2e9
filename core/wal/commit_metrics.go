package wal

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// commitMetrics are what operators watch of the commit log.
type commitMetrics struct {
	reg         prometheus.Registerer
	frames      prometheus.Counter
	bytes       prometheus.Counter
	stalls      prometheus.Counter
	checkpoints prometheus.Counter
	roundFrames prometheus.Histogram
	roundBytes  prometheus.Histogram
	latency     prometheus.Histogram
}

// WithCommitMetrics registers what the commit log counts.
func WithCommitMetrics(reg prometheus.Registerer) CommitOption {
	return func(o *commitOptions) { o.metrics = newCommitMetrics(reg) }
}

func newCommitMetrics(reg prometheus.Registerer) *commitMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	histogram := func(name, help string, start, factor float64, n int) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(start, factor, n)})
	}
	m := &commitMetrics{
		reg:         reg,
		frames:      counter("quorate_wal_frames_total", "Appends that were committed through the commit log."),
		bytes:       counter("quorate_wal_bytes_total", "Bytes of record batches that were committed through the commit log."),
		stalls:      counter("quorate_wal_stalls_total", "Appends that had to wait because the disk was behind."),
		checkpoints: counter("quorate_wal_checkpoints_total", "Checkpoints: logs were synced so that files of the commit log can be written again."),
		roundFrames: histogram("quorate_wal_round_frames", "Appends that one write and one sync made durable.", 1, 4, 8),
		roundBytes:  histogram("quorate_wal_round_bytes", "Bytes that one write and one sync made durable.", 1024, 4, 9),
		latency:     histogram("quorate_wal_sync_seconds", "Time of one write and one sync of the commit log.", 0.0001, 2, 14),
	}
	if reg != nil {
		reg.MustRegister(m.frames, m.bytes, m.stalls, m.checkpoints, m.roundFrames, m.roundBytes, m.latency)
	}
	return m
}

// watch registers what is read when it is asked for.
func (m *commitMetrics) watch(c *Committer) {
	if m.reg == nil {
		return
	}
	gauge := func(name, help string, value func() float64) {
		m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("quorate_wal_queue_bytes", "Bytes of record batches that wait for the commit log's disk.", func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(c.queued)
	})
	gauge("quorate_wal_used_bytes", "Bytes of the commit log that a start after a crash would replay.", func() float64 { return float64(c.ring.Used()) })
}

// committed counts a round.
func (m *commitMetrics) committed(q *commitQueue, took time.Duration) {
	m.frames.Add(float64(len(q.ends)))
	m.bytes.Add(float64(q.bytes))
	m.roundFrames.Observe(float64(len(q.ends)))
	m.roundBytes.Observe(float64(q.bytes))
	m.latency.Observe(took.Seconds())
}
