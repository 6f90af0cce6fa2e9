package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Throughput is how much went how fast. Bytes are those of values.
type Throughput struct {
	Records          int64   `json:"records"`
	Bytes            int64   `json:"bytes"`
	Seconds          float64 `json:"seconds"`
	RecordsPerSecond float64 `json:"records_per_second"`
	BytesPerSecond   float64 `json:"bytes_per_second"`
}

func throughput(records, bytes int64, d time.Duration) Throughput {
	t := Throughput{Records: records, Bytes: bytes, Seconds: d.Seconds()}
	if d > 0 {
		t.RecordsPerSecond, t.BytesPerSecond = float64(records)/d.Seconds(), float64(bytes)/d.Seconds()
	}
	return t
}

// ProduceResult is what a produce workload measured.
type ProduceResult struct {
	Topic        string  `json:"topic"`
	Partitions   int     `json:"partitions"`
	Brokers      int     `json:"brokers"`
	RecordBytes  int     `json:"record_bytes"`
	Acks         int16   `json:"acks"`
	Connections  int     `json:"connections"`
	InFlight     int     `json:"in_flight"`
	BatchBytes   int     `json:"batch_bytes"`
	RequestBytes int     `json:"request_bytes"`
	Compression  string  `json:"compression"`
	IntendedRate float64 `json:"intended_rate,omitempty"` // records per second; 0: closed loop
	Throughput
	// LatencyMillis is from the intended time to the acknowledgement; in the closed
	// loop from the sending of the request.
	LatencyMillis Latency          `json:"latency_ms"`
	Errors        map[string]int64 `json:"errors"`  // by kind: batches that failed, also those that went well later
	Retried       int64            `json:"retried"` // records
	Lost          int64            `json:"lost"`    // records that were never acknowledged
	ClientCPU     float64          `json:"client_cpu_seconds"`
	Server        *Server          `json:"server,omitempty"`
}

func (p *producer) result(m measurement) (*ProduceResult, error) {
	records := m.acked
	began, end := p.from, m.endTime
	if p.until.IsZero() || p.Rate > 0 {
		end = epoch.Add(time.Duration(p.lastAck.Load()))
	}
	if p.Rate > 0 && !p.until.IsZero() && end.Before(p.until) {
		end = p.until
	}
	l, err := latencyOf(p.total)
	if err != nil {
		return nil, err
	}
	bytes := records * int64(p.RecordBytes)
	return &ProduceResult{
		Topic: p.top.topic, Partitions: p.top.partitions(), Brokers: len(p.top.brokers), RecordBytes: p.RecordBytes,
		Acks: p.Acks, Connections: p.Connections, InFlight: p.InFlight, BatchBytes: p.BatchBytes, RequestBytes: p.RequestBytes,
		Compression: p.Compression, IntendedRate: p.Rate,
		Throughput:    throughput(records, bytes, max(0, end.Sub(began))),
		LatencyMillis: l,
		Errors:        p.failed.count(), Retried: p.retried.Load(), Lost: p.lost.Load(),
		ClientCPU: (m.ownEnded - m.ownBegun).Seconds(),
		Server:    between(m.begun, m.ended, bytes),
	}, nil
}

const mebibyte = 1 << 20

// Line is the progress as kafka-producer-perf-test prints it.
func (p Progress) Line() string {
	s := max(p.For.Seconds(), 1e-9)
	line := fmt.Sprintf("%d records %s, %.1f records/sec (%.2f MB/sec)", p.Records, p.What, float64(p.Records)/s, float64(p.Bytes)/s/mebibyte)
	if p.Latency.Max > 0 {
		line += fmt.Sprintf(", %.1f ms avg latency, %.1f ms max latency", p.Latency.Mean, p.Latency.Max)
	}
	return line + "."
}

// Print prints the line of kafka-producer-perf-test and what else there is to say.
func (r *ProduceResult) Print(w io.Writer) {
	fmt.Fprintf(w, "%d records sent, %.1f records/sec (%.2f MB/sec), %s.\n", r.Records, r.RecordsPerSecond, r.BytesPerSecond/mebibyte, r.LatencyMillis.line())
	printErrors(w, r.Errors, r.Retried, r.Lost)
	r.Server.print(w)
}

// line is a latency as Kafka's tools print it; MB there and here are 2^20 bytes.
func (l Latency) line() string {
	return fmt.Sprintf("%.2f ms avg latency, %.2f ms max latency, %.2f ms 50th, %.2f ms 95th, %.2f ms 99th, %.2f ms 99.9th",
		l.Mean, l.Max, l.P50, l.P95, l.P99, l.P999)
}

func printErrors(w io.Writer, kinds map[string]int64, retried, lost int64) {
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(w, "error: %s: %d\n", kind, kinds[kind])
	}
	if retried > 0 || lost > 0 {
		fmt.Fprintf(w, "%d records retried, %d lost\n", retried, lost)
	}
}

func (s *Server) print(w io.Writer) {
	if s == nil {
		return
	}
	fmt.Fprintf(w, "server: %.2f CPU-seconds, %.2f per GB; %.1f MB of memory, %.1f at most (pids %s)\n",
		s.CPUSeconds, s.CPUSecondsPerGB, float64(s.RSSBytes)/1e6, float64(s.PeakRSSBytes)/1e6, strings.Trim(fmt.Sprint(s.PIDs), "[]"))
}

// ConsumeResult is what a consume workload measured.
type ConsumeResult struct {
	Topic       string    `json:"topic"`
	Partitions  int       `json:"partitions"`
	Connections int       `json:"connections"`
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Throughput
	Errors    map[string]int64 `json:"errors"` // by kind
	Lost      int64            `json:"lost"`   // records that the client found to be gone
	ClientCPU float64          `json:"client_cpu_seconds"`
	Server    *Server          `json:"server,omitempty"`
}

// Print prints the lines of kafka-consumer-perf-test and what else there is to say.
// There is no rebalance: partitions are assigned by hand.
func (r *ConsumeResult) Print(w io.Writer) {
	const layout = "2006-01-02 15:04:05:000"
	mb, s := float64(r.Bytes)/mebibyte, max(r.Seconds, 1e-9)
	fmt.Fprintln(w, "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec")
	fmt.Fprintf(w, "%s, %s, %.4f, %.4f, %d, %.4f, 0, %d, %.4f, %.4f\n", r.Start.Format(layout), r.End.Format(layout),
		mb, mb/s, r.Records, r.RecordsPerSecond, int64(r.Seconds*1000), mb/s, r.RecordsPerSecond)
	printErrors(w, r.Errors, 0, r.Lost)
	r.Server.print(w)
}

// EndToEndResult is what an end-to-end workload measured. The embedded result is
// about the producing.
type EndToEndResult struct {
	ProduceResult
	// EndToEndMillis is from the intended time to the arrival at the consumer.
	EndToEndMillis Latency          `json:"end_to_end_ms"`
	Received       int64            `json:"received"`
	Twice          int64            `json:"duplicates"`
	Missing        int64            `json:"missing"` // acknowledged, and never read
	FetchErrors    map[string]int64 `json:"fetch_errors"`
}

// Print prints both latencies.
func (r *EndToEndResult) Print(w io.Writer) {
	r.ProduceResult.Print(w)
	fmt.Fprintf(w, "%d records received, end to end: %s.\n", r.Received, r.EndToEndMillis.line())
	printErrors(w, r.FetchErrors, 0, r.Missing)
	if r.Twice > 0 {
		fmt.Fprintf(w, "%d records received twice\n", r.Twice)
	}
}
