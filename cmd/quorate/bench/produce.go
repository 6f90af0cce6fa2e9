package bench

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ProduceConfig is a produce workload.
type ProduceConfig struct {
	Topic       Topic
	RecordBytes int // of each value
	// Rate is records per second, an open loop; 0: as many as the server takes.
	Rate float64
	// Records ends the run, and so does Duration; 0: it does not. One of them must.
	Records  int64
	Duration time.Duration
	// Warmup is the first part of Duration. It is not measured.
	Warmup time.Duration
	// Acks is -1 for all in-sync replicas, 1 for the leader, 0 for nobody.
	Acks int16
	// Connections to each broker, and requests in flight on each of them.
	Connections, InFlight int
	// BatchBytes and RequestBytes bound the values of a batch and of a request. In the
	// closed loop they are what batches and requests have. One record always fits.
	BatchBytes, RequestBytes int
	Compression              string // none, gzip, snappy, lz4, zstd
	// Keys is how many different keys there are; 0: none, and records go to the
	// partitions in turn. KeyDistribution is Uniform, Zipf or Sequential.
	Keys            int64
	KeyDistribution string
	// Timeout is how long after its intended time a record may be tried again.
	Timeout time.Duration
	// ServerPIDs are the processes whose use of the CPU is measured.
	ServerPIDs []int
	// Client makes a client; one is made for each connection.
	Client func(...kgo.Opt) (*kgo.Client, error)
	// Progress is told about the run every ProgressEvery; nil: nobody is.
	Progress      func(Progress)
	ProgressEvery time.Duration
}

// Progress is what happened since the last one.
type Progress struct {
	What           string // was done to the records: sent or read
	Records, Bytes int64
	For            time.Duration
	Latency        Latency
}

// mostWaiting bounds the records that are due and not sent.
const mostWaiting = 10_000_000

// producer is one run.
type producer struct {
	ProduceConfig
	top     *topology
	clients []*kgo.Client
	keys    *keys
	plan    schedule
	from    time.Time // of the measured time
	until   time.Time // of the measured time; zero: not known before the end
	backlog *backlog  // nil in the closed loop without keys
	full    []byte    // the batch that is sent over and over then
	next    []atomic.Int64
	issued  atomic.Int64
	ended   chan struct{} // nothing more is begun
	endOnce sync.Once
	// stamp is in front of every value, if it is not 0, and observe is called with
	// the numbers of records that were acknowledged.
	stamp   uint64
	observe func(indexes []int64)

	failed  failures
	lost    atomic.Int64
	acked   atomic.Int64 // in the measured time
	lastAck atomic.Int64 // nanoseconds since epoch
	retried atomic.Int64

	mu     sync.Mutex
	total  *hdr.Histogram
	recent *hdr.Histogram // since the last progress
}

// perBatch and perRequest are how many records they take.
func (c ProduceConfig) perBatch() int { return max(1, c.BatchBytes/(c.RecordBytes+recordOverhead)) }

func (c ProduceConfig) perRequest() int {
	return max(1, c.RequestBytes/(c.RecordBytes+recordOverhead))
}

// Produce runs a workload. Records that were lost are in the result, not an error.
func Produce(ctx context.Context, c ProduceConfig) (*ProduceResult, error) {
	p, err := newProducer(ctx, c)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return p.run(ctx)
}

func newProducer(ctx context.Context, c ProduceConfig) (*producer, error) {
	p := &producer{ProduceConfig: c, ended: make(chan struct{}), total: newHistogram(), recent: newHistogram()}
	for range c.Connections {
		client, err := c.Client(kgo.RequiredAcks(acksOf(c.Acks)), kgo.DisableIdempotentWrite())
		if err != nil {
			p.close()
			return nil, err
		}
		p.clients = append(p.clients, client)
	}
	if c.Keys > 0 {
		p.keys = newKeys(c.Keys, c.KeyDistribution)
	}
	var err error
	p.top, err = prepare(ctx, p.clients[0], c.Topic, c.Timeout)
	for _, client := range p.clients {
		if err == nil {
			err = client.Ping(ctx) // it learns which broker has which id
		}
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func acksOf(acks int16) kgo.Acks {
	return map[int16]kgo.Acks{-1: kgo.AllISRAcks(), 1: kgo.LeaderAck(), 0: kgo.NoAck()}[acks]
}

func (p *producer) close() {
	for _, client := range p.clients {
		client.Close()
	}
}

// run runs the workload to its end, or until ctx ends; then it reports what there is.
func (p *producer) run(ctx context.Context) (*ProduceResult, error) {
	workers, err := p.workers()
	if err != nil {
		return nil, err
	}
	p.begin()
	return p.carry(ctx, workers)
}

// carry is run after begin.
func (p *producer) carry(ctx context.Context, workers []*worker) (*ProduceResult, error) {
	// Records that were begun are carried to their end, whatever ends the run.
	sending := context.WithoutCancel(ctx)
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() { w.run(sending) })
	}
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	var fed sync.WaitGroup
	fed.Go(func() { p.feed(feeding) })
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	m, err := p.watch(ctx, done, stop)
	fed.Wait()
	<-done
	if err != nil {
		return nil, err
	}
	return p.result(m)
}

// begin fixes the times of the run.
func (p *producer) begin() {
	start := time.Now()
	p.plan = schedule{start: start, rate: p.Rate, count: math.MaxInt64 / 2} // room for what is added to it
	if p.Records > 0 {
		p.plan.count = p.Records
	}
	p.from = start.Add(p.Warmup)
	if p.Duration > 0 {
		p.until = start.Add(p.Duration)
	}
	if p.Duration > 0 && p.Rate > 0 {
		p.plan.count = min(p.plan.count, int64(p.Duration.Seconds()*p.Rate))
	}
}

// workers makes what sends, and what it takes its records from.
func (p *producer) workers() ([]*worker, error) {
	if p.Rate > 0 || p.Keys > 0 {
		limit := int64(mostWaiting)
		if p.Rate == 0 {
			limit = int64(4 * p.perRequest() * p.Connections * p.InFlight)
		}
		p.backlog = newBacklog(*p.top.leaders.Load(), p.top.brokers, limit)
		p.top.onMove = p.backlog.rehome
	}
	p.next = make([]atomic.Int64, len(p.top.brokers))
	payload := newPayload(p.RecordBytes)
	var all []*worker
	for _, client := range p.clients {
		for i, broker := range p.top.brokers {
			for range p.InFlight {
				b, err := newBatcher(p.ProduceConfig, payload, p.keys, p.stamp)
				if err != nil {
					return nil, err
				}
				all = append(all, &worker{p: p, client: client, broker: broker, cursor: &p.next[i], batcher: b})
			}
		}
	}
	if p.backlog == nil {
		indexes := make([]int64, p.perBatch())
		for i := range indexes {
			indexes[i] = int64(i)
		}
		p.full = append([]byte(nil), all[0].batcher.build(indexes)...)
	}
	return all, nil
}

// feed hands records to the workers when they are due.
func (p *producer) feed(ctx context.Context) {
	if p.backlog == nil {
		return
	}
	defer p.backlog.close()
	if p.Rate == 0 {
		p.feedAll(ctx)
		return
	}
	p.plan.run(ctx, func(from, to int64) {
		if dropped := p.backlog.push(from, to, p.partitionOf()); dropped > 0 {
			p.lost.Add(dropped)
			p.failed.add(fmt.Errorf("more than %d records wait to be sent", int64(mostWaiting)), dropped)
		}
	})
}

// feedAll hands over records as fast as they are taken.
func (p *producer) feedAll(ctx context.Context) {
	stop := context.AfterFunc(ctx, p.backlog.close) // wakes whoever waits for room
	defer stop()
	partition, step := p.partitionOf(), int64(p.perRequest())
	for next := int64(0); next < p.plan.count && ctx.Err() == nil; {
		p.backlog.awaitRoom(ctx)
		to := min(p.plan.count, next+step)
		next = to - p.backlog.push(next, to, partition)
	}
}

// partitionOf tells every record's partition. The function is not for concurrent use.
func (p *producer) partitionOf() func(int64) int32 {
	n := int64(p.top.partitions())
	if p.keys == nil {
		return func(i int64) int32 { return int32(i % n) }
	}
	var key []byte
	return func(i int64) int32 {
		key = p.keys.append(key[:0], i)
		return p.keys.partition(key, int(n))
	}
}

// measurement is what was read at the two ends of the measured time.
type measurement struct {
	begun, ended       usage
	ownBegun, ownEnded time.Duration
	beganTime, endTime time.Time // the first is zero if the run ended before
	acked              int64
}

// watch reads the clocks at the ends of the measured time, tells the progress, and
// ends the run when its time is up.
func (p *producer) watch(ctx context.Context, done <-chan struct{}, stop func()) (m measurement, err error) {
	progress := time.NewTicker(max(p.ProgressEvery, time.Millisecond))
	defer progress.Stop()
	warm := time.NewTimer(time.Until(p.from))
	defer warm.Stop()
	var up <-chan time.Time
	if !p.until.IsZero() {
		timer := time.NewTimer(time.Until(p.until))
		defer timer.Stop()
		up = timer.C
	}
	interrupted := ctx.Done()
	var lastRecords int64
	lastTime := time.Now()
	end := func() {
		p.end()
		stop()
	}
	defer end()
	for {
		select {
		case <-warm.C:
			m.beganTime, m.ownBegun = time.Now(), ownCPU()
			if m.begun, err = usageOf(p.ServerPIDs); err != nil {
				return m, err
			}
		case <-up:
			if p.Rate > 0 {
				continue // the schedule ends by itself, and what is due by then is measured
			}
			end()
			err = p.finish(&m) // what is in flight is not measured
			<-done
			return m, err
		case <-interrupted:
			interrupted = nil
			end()
		case <-progress.C:
			lastRecords, lastTime = p.tell(lastRecords, lastTime)
		case <-done:
			return m, p.finish(&m)
		}
	}
}

// end has nothing more begun.
func (p *producer) end() { p.endOnce.Do(func() { close(p.ended) }) }

// finish reads the clocks at the end of the measured time.
func (p *producer) finish(m *measurement) (err error) {
	m.endTime, m.ownEnded, m.acked = time.Now(), ownCPU(), p.acked.Load()
	m.ended, err = usageOf(p.ServerPIDs)
	if m.beganTime.IsZero() {
		m.begun, m.ownBegun = m.ended, m.ownEnded
	}
	return err
}

func (p *producer) tell(last int64, at time.Time) (int64, time.Time) {
	if p.Progress == nil || p.ProgressEvery == 0 {
		return last, at
	}
	now, records := time.Now(), p.issued.Load()
	p.mu.Lock()
	l, err := latencyOf(p.recent)
	p.recent.Reset()
	p.mu.Unlock()
	if err == nil { // else the end will tell
		p.Progress(Progress{What: "sent", Records: records - last, Bytes: (records - last) * int64(p.RecordBytes), For: now.Sub(at), Latency: l})
	}
	return records, now
}
