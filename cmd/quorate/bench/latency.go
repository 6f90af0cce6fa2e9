package bench

import (
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in microseconds, with three significant digits. What is
// beyond the longest counts as the longest.
const longestLatency = int64(10 * time.Minute / time.Microsecond)

func newHistogram() *hdr.Histogram { return hdr.New(1, longestLatency, 3) }

// note adds n records with the same latency.
func note(h *hdr.Histogram, d time.Duration, n int64) {
	// Within the bounds it cannot fail.
	_ = h.RecordValues(min(max(1, d.Microseconds()), longestLatency), n)
}

// Latency is a distribution in milliseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
	// HDR is the whole distribution in microseconds, as HdrHistogram's tools read it
	// (V2 encoding, compressed, base64).
	HDR string `json:"hdr,omitempty"`
}

func latencyOf(h *hdr.Histogram) (Latency, error) {
	if h.TotalCount() == 0 {
		return Latency{}, nil
	}
	ms := func(micros float64) float64 { return micros / 1000 }
	at := func(percentile float64) float64 { return ms(float64(h.ValueAtPercentile(percentile))) }
	encoded, err := h.EncodeV2()
	if err != nil {
		return Latency{}, fmt.Errorf("encode the latencies: %w", err)
	}
	return Latency{
		Mean: ms(h.Mean()), P50: at(50), P95: at(95), P99: at(99), P999: at(99.9),
		Max: ms(float64(h.Max())), HDR: string(encoded),
	}, nil
}

// epoch is the zero of times that are kept as numbers.
var epoch = time.Now()

func since(t time.Time) time.Duration { return t.Sub(epoch) }
