package core

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
)

// measured is a backend with metrics.
type measured struct {
	*consensustest.Fake
	metrics []consensus.Metric
	err     error
}

func (m measured) Metrics(context.Context) ([]consensus.Metric, error) { return m.metrics, m.err }

// A plugin that shows nonsense must not cost the broker its own metrics.
func TestConsensusMetrics(t *testing.T) {
	peer := func(id string) map[string]string { return map[string]string{"peer": id} }
	client := measured{Fake: consensustest.NewFake(), metrics: []consensus.Metric{
		{Name: "queue_length", Value: 3, Labels: peer("2")},
		{Name: "queue_length", Value: 4, Labels: peer("3")},
		{Name: "queue_length", Value: 5, Labels: peer("3")},
		{Name: "queue_length", Value: 6},
		{Name: "queue_length", Counter: true, Value: 6, Labels: peer("4")},
		{Name: "no name", Value: 1},
		{Name: "label", Value: 1, Labels: map[string]string{"not a label": "x"}},
		{Name: "backend_label", Value: 1, Labels: map[string]string{"backend": "x"}},
		{Name: "", Value: 1},
		{Name: "utf", Value: 1, Labels: map[string]string{"a": "\xff"}},
	}}
	got := gather(t, client)
	for _, want := range []string{"quorate_consensus_plugin_up 1", "quorate_consensus_queue_length 3", "quorate_consensus_queue_length 4"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
	for _, wrong := range []string{"quorate_consensus_queue_length 5", "quorate_consensus_queue_length 6", "quorate_consensus_backend_label 1"} {
		if slices.Contains(got, wrong) {
			t.Errorf("%s is there", wrong)
		}
	}
	client.err = errors.New("away")
	client.SetDown(true)
	if got := gather(t, client); !slices.Contains(got, "quorate_consensus_plugin_up 0") {
		t.Errorf("got %q", got)
	}
}

// gather returns the name and value of every series.
func gather(t *testing.T, c consensus.Client) []string {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(consensusMetrics{c})
	families, err := reg.Gather()
	if err != nil {
		t.Error(err)
	}
	var out []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			out = append(out, f.GetName()+" "+string(rune('0'+int(value))))
		}
	}
	return out
}
