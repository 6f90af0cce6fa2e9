package bench

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// sinkFor runs a sink for the time of a test and returns a maker of its clients.
func sinkFor(t *testing.T) (client func(...kgo.Opt) (*kgo.Client, error)) {
	t.Helper()
	s, err := NewSink("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.Addr()), kgo.MetadataMinAge(10 * time.Millisecond)}, opts...)...)
	}
}

func workload(client func(...kgo.Opt) (*kgo.Client, error)) ProduceConfig {
	return ProduceConfig{
		Topic: Topic{Name: "t", Partitions: 12, Replicas: 1}, RecordBytes: 100, Acks: -1, Connections: 2, InFlight: 3,
		BatchBytes: 1 << 10, RequestBytes: 1 << 20, Compression: "none", Timeout: 10 * time.Second, Client: client,
	}
}

func TestProduce(t *testing.T) {
	client := sinkFor(t)
	tests := []struct {
		name        string
		change      func(*ProduceConfig)
		least, most int64 // records
	}{
		{"closed loop", func(c *ProduceConfig) { c.Records = 10_000 }, 10_000, 10_008},
		{"closed loop, no acks", func(c *ProduceConfig) { c.Records, c.Acks = 10_000, 0 }, 10_000, 10_008},
		{"closed loop with keys", func(c *ProduceConfig) { c.Records, c.Keys, c.KeyDistribution = 10_000, 100, Uniform }, 10_000, 10_000},
		{"closed loop for a time", func(c *ProduceConfig) { c.Duration, c.Warmup = time.Second, 500*time.Millisecond }, 1, 1 << 40},
		{"open loop", func(c *ProduceConfig) { c.Rate, c.Duration = 10_000, 200*time.Millisecond }, 2000, 2000},
		{"open loop, warm", func(c *ProduceConfig) {
			c.Rate, c.Duration, c.Warmup = 10_000, 200*time.Millisecond, 100*time.Millisecond
		}, 999, 1001},
		{"many partitions", func(c *ProduceConfig) { c.Topic, c.Records = Topic{"many", 5000, 1, nil}, 10_000 }, 10_000, 10_008},
		{"open loop by count", func(c *ProduceConfig) { c.Rate, c.Records = 10_000, 500 }, 500, 500},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := workload(client)
			tt.change(&c)
			c.ServerPIDs = []int{os.Getpid()}
			r, err := Produce(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Records < tt.least || r.Records > tt.most || r.Lost != 0 || len(r.Errors) != 0 {
				t.Errorf("%d records, %d lost, errors %v; want %d to %d", r.Records, r.Lost, r.Errors, tt.least, tt.most)
			}
			if r.Bytes != 100*r.Records || r.Seconds <= 0 || r.LatencyMillis.P50 <= 0 || r.LatencyMillis.Max < r.LatencyMillis.P99 {
				t.Errorf("%+v", r)
			}
			if r.Server == nil || r.Server.PeakRSSBytes < r.Server.RSSBytes || r.Server.RSSBytes == 0 {
				t.Errorf("server %+v", r.Server)
			}
		})
	}
}

// A server that stands still is charged for every record that was due meanwhile.
func TestNoOmission(t *testing.T) {
	client := sinkFor(t)
	const stall = 300 * time.Millisecond
	c := workload(func(opts ...kgo.Opt) (*kgo.Client, error) {
		return client(append(opts, kgo.WithHooks(&staller{after: 100 * time.Millisecond, stall: stall}))...)
	})
	c.Rate, c.Duration, c.Connections, c.InFlight = 2000, time.Second, 1, 1
	r, err := Produce(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	// 30 % of the records were due in the stall, at even distances.
	if got := r.LatencyMillis; got.Max < 280 || got.P95 < 180 {
		t.Errorf("the stall of %v is not in the latencies: 95th %v ms, max %v ms", stall, got.P95, got.Max)
	}
	if r.Records != 2000 {
		t.Errorf("%d records, want 2000", r.Records)
	}
}

// staller stops a client's reading of answers once.
type staller struct {
	after, stall time.Duration
	first        time.Time
	done         bool
}

// OnBrokerRead is called by the one goroutine that reads.
func (s *staller) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	switch {
	case key != 0 || s.done:
	case s.first.IsZero():
		s.first = time.Now()
	case time.Since(s.first) > s.after:
		s.done = true
		<-time.After(s.stall)
	}
}

// Records that cannot be sent are lost, told by kind, and counted once.
func TestLost(t *testing.T) {
	client := sinkFor(t)
	c := workload(client)
	c.Rate, c.Duration = 1000, 200*time.Millisecond
	p, err := newProducer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	p.Timeout = 100 * time.Millisecond // the records'; what is done before them may take its time
	nobody := make([]int32, 12)
	for i := range nobody {
		nobody[i] = -1
	}
	p.top.leaders.Store(&nobody)
	p.top.topic = "missing" // a refresh finds nothing
	r, err := p.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 200 || r.Records != 0 || r.Errors["given up"] != 200 || r.Errors["LEADER_NOT_AVAILABLE"] == 0 {
		t.Errorf("%d lost, %d acknowledged, errors %v", r.Lost, r.Records, r.Errors)
	}
}

// A closed loop outlives a time in which nobody leads anything.
func TestLeaderless(t *testing.T) {
	c := workload(sinkFor(t))
	c.Duration, c.Timeout = time.Second, 10*time.Second
	p, err := newProducer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	nobody := make([]int32, 12)
	for i := range nobody {
		nobody[i] = -1
	}
	p.top.leaders.Store(&nobody)
	r, err := p.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 0 || r.Records == 0 || r.Seconds < 0.9 {
		t.Errorf("%d records in %.1f s, %d lost, errors %v", r.Records, r.Seconds, r.Lost, r.Errors)
	}
}

// A broker that leads nothing keeps no run from its end.
func TestIdleBroker(t *testing.T) {
	c := workload(sinkFor(t))
	c.Records = 1000
	p, err := newProducer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	p.top.brokers = append(p.top.brokers, 2)
	r, err := p.run(t.Context())
	if err != nil || r.Records < 1000 {
		t.Errorf("%+v, %v", r, err)
	}
}
