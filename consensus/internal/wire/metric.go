package wire

import (
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// MetricsToProto translates a backend's metrics.
func MetricsToProto(ms []consensus.Metric) []*consensuspb.Metric {
	return each(ms, func(m consensus.Metric) *consensuspb.Metric {
		return &consensuspb.Metric{Name: m.Name, Counter: m.Counter, Value: m.Value, Labels: m.Labels}
	})
}

// MetricsFromProto is the reverse of MetricsToProto.
func MetricsFromProto(ps []*consensuspb.Metric) []consensus.Metric {
	return each(ps, func(p *consensuspb.Metric) consensus.Metric {
		return consensus.Metric{Name: p.GetName(), Counter: p.GetCounter(), Value: p.GetValue(), Labels: p.GetLabels()}
	})
}
