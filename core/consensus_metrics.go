package core

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quorate/quorate/consensus"
)

const (
	// pluginMetricsWait bounds the question to the plugin within one scrape.
	pluginMetricsWait = time.Second
	// maxPluginSeries bounds what one plugin can add to a scrape.
	maxPluginSeries = 2000
)

// consensusMetrics shows the consensus plugin's process, and what the backend
// itself has to show, as quorate_consensus_… with the backend as a label.
type consensusMetrics struct{ client consensus.Client }

// Describe implements prometheus.Collector. What a backend shows is not known in
// advance, which is what no description means.
func (consensusMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c consensusMetrics) Collect(out chan<- prometheus.Metric) {
	s := series{out: out, backend: c.client.Describe().Backend, seen: map[string]bool{}, shapes: map[string]string{}}
	h := c.client.Health()
	up := 0.0
	if h.State == "running" || h.State == "slow" {
		up = 1
	}
	loop := 0.0
	if h.CrashLoop {
		loop = 1
	}
	s.add(consensus.Metric{Name: "plugin_up", Value: up})
	s.add(consensus.Metric{Name: "plugin_crash_loop", Value: loop})
	s.add(consensus.Metric{Name: "plugin_restarts_total", Counter: true, Value: float64(h.Restarts)})
	for quantile, d := range map[string]time.Duration{"0.5": h.CommitP50, "0.99": h.CommitP99} {
		s.add(consensus.Metric{Name: "commit_seconds", Value: d.Seconds(), Labels: map[string]string{"quantile": quantile}})
	}
	for quantile, d := range map[string]time.Duration{"0.5": h.HopP50, "0.99": h.HopP99} {
		s.add(consensus.Metric{Name: "hop_seconds", Value: d.Seconds(), Labels: map[string]string{"quantile": quantile}})
	}
	s.add(consensus.Metric{Name: "plugin_loop_age_seconds", Value: h.LoopAge.Seconds()})
	s.add(consensus.Metric{Name: "plugin_sync_age_seconds", Value: h.SyncAge.Seconds()})
	ctx, cancel := context.WithTimeout(context.Background(), pluginMetricsWait)
	defer cancel()
	own, err := c.client.Metrics(ctx)
	if err != nil {
		return // it has none, or is away, which plugin_up says
	}
	for _, m := range own[:min(len(own), maxPluginSeries)] {
		s.add(m)
	}
}

// series sends metrics, leaving out what would spoil the scrape for all others:
// names that are none, the same series twice, one name with different labels.
type series struct {
	out     chan<- prometheus.Metric
	backend string
	seen    map[string]bool
	shapes  map[string]string // label names and kind by name
}

func (s *series) add(m consensus.Metric) {
	names := slices.Sorted(maps.Keys(m.Labels))
	values := make([]string, len(names))
	for i, n := range names {
		values[i] = m.Labels[n]
	}
	id, shape := fmt.Sprintf("%q%q", m.Name, values), fmt.Sprintf("%q%v", names, m.Counter)
	if known, ok := s.shapes[m.Name]; s.seen[id] || ok && known != shape {
		return
	}
	s.seen[id], s.shapes[m.Name] = true, shape
	kind := prometheus.GaugeValue
	if m.Counter {
		kind = prometheus.CounterValue
	}
	desc := prometheus.NewDesc("quorate_consensus_"+m.Name, "Told by the consensus plugin or its supervisor.",
		names, prometheus.Labels{"backend": s.backend})
	metric, err := prometheus.NewConstMetric(desc, kind, m.Value, values...)
	if err != nil {
		return // not a name or a label that Prometheus takes
	}
	s.out <- metric
}
