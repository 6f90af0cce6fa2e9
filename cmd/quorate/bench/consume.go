package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ConsumeConfig is a consume workload. It ends with Duration, if that is set, else
// with Records, if that is set, else where the topic ended when it began.
type ConsumeConfig struct {
	Topic    string
	FromEnd  bool // only what is produced meanwhile; else everything
	Records  int64
	Duration time.Duration
	Warmup   time.Duration // the first part of the run; it is not measured
	// Connections share the partitions among them.
	Connections int
	// PartitionBytes and FetchBytes bound what a fetch returns of a partition and
	// altogether.
	PartitionBytes, FetchBytes int32
	Timeout                    time.Duration // without a record, before the end
	ServerPIDs                 []int
	Client                     func(...kgo.Opt) (*kgo.Client, error)
	Progress                   func(Progress)
	ProgressEvery              time.Duration
}

// span is where a partition is read from and, if that ends the run, to.
type span struct{ from, to int64 }

// consumer is one run.
type consumer struct {
	ConsumeConfig
	spans   map[int32]span
	clients []*kgo.Client
	cancel  context.CancelFunc

	failed  failures
	lost    atomic.Int64
	records atomic.Int64 // all
	bytes   atomic.Int64
	last    atomic.Int64 // when the last record came, nanoseconds since epoch
	open    atomic.Int64 // partitions that are not read to their end
}

// Consume runs a workload. Data loss that the client saw is in the result.
func Consume(ctx context.Context, c ConsumeConfig) (*ConsumeResult, error) {
	k := &consumer{ConsumeConfig: c}
	defer k.close()
	if err := k.prepare(ctx); err != nil {
		return nil, err
	}
	return k.run(ctx)
}

func (k *consumer) close() {
	for _, client := range k.clients {
		client.Close()
	}
}

// prepare looks up where the topic begins and ends, and deals the partitions out.
func (k *consumer) prepare(ctx context.Context) error {
	client, err := k.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	asking, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	if _, err := discover(asking, client, k.Topic, 1); err != nil {
		return err
	}
	if k.spans, err = spansOf(asking, client, k.Topic, k.FromEnd); err != nil {
		return err
	}
	for _, s := range k.spans {
		if s.to > s.from {
			k.open.Add(1)
		}
	}
	shares := make([]map[int32]kgo.Offset, min(k.Connections, len(k.spans)))
	for partition, s := range k.spans {
		i := int(partition) % len(shares)
		if shares[i] == nil {
			shares[i] = map[int32]kgo.Offset{}
		}
		shares[i][partition] = kgo.NewOffset().At(s.from)
	}
	for _, share := range shares {
		client, err := k.Client(
			kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{k.Topic: share}),
			kgo.FetchMaxBytes(k.FetchBytes), kgo.FetchMaxPartitionBytes(k.PartitionBytes), kgo.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			return err
		}
		k.clients = append(k.clients, client)
	}
	return nil
}

// spansOf is what is to be read of every partition. Brokers that do not know yet that
// they lead one are asked again.
func spansOf(ctx context.Context, client *kgo.Client, topic string, fromEnd bool) (map[int32]span, error) {
	pause := time.NewTicker(refreshEvery)
	defer pause.Stop()
	for {
		spans, err := spansNow(ctx, client, topic, fromEnd)
		if code, ok := errors.AsType[*kerr.Error](err); err == nil || !ok || !code.Retriable {
			return spans, err
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func spansNow(ctx context.Context, client *kgo.Client, topic string, fromEnd bool) (map[int32]span, error) {
	adm := kadm.NewClient(client)
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("list the start offsets of %s: %w", topic, err)
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("list the end offsets of %s: %w", topic, err)
	}
	if err := errors.Join(starts.Error(), ends.Error()); err != nil {
		return nil, fmt.Errorf("list the offsets of %s: %w", topic, err)
	}
	spans := map[int32]span{}
	ends.Each(func(o kadm.ListedOffset) {
		first, _ := starts.Lookup(topic, o.Partition)
		from := first.Offset
		if fromEnd {
			from = o.Offset
		}
		spans[o.Partition] = span{from, o.Offset}
	})
	return spans, nil
}

// untilEnd says whether the end of the topic ends the run.
func (k *consumer) untilEnd() bool { return k.Duration == 0 && k.Records == 0 }

func (k *consumer) run(ctx context.Context) (*ConsumeResult, error) {
	start := time.Now()
	polling, cancel := context.WithCancel(ctx)
	defer cancel()
	k.cancel = cancel
	if k.untilEnd() && k.open.Load() == 0 {
		cancel()
	}
	k.last.Store(int64(since(start)))
	var wg sync.WaitGroup
	for _, client := range k.clients {
		wg.Go(func() {
			for polling.Err() == nil {
				k.note(client.PollFetches(polling))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	r := &ConsumeResult{Topic: k.Topic, Partitions: len(k.spans), Connections: len(k.clients), Start: start}
	if err := k.watch(done, r); err != nil {
		cancel()
		<-done
		return nil, err
	}
	return r, nil
}

// note counts what was read.
func (k *consumer) note(fetches kgo.Fetches) {
	fetches.EachError(func(_ string, partition int32, err error) {
		if errors.Is(err, context.Canceled) {
			return
		}
		if loss, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
			k.lost.Add(max(1, loss.ConsumedTo-loss.ResetTo))
		}
		k.failed.add(err, 1)
	})
	var records, bytes int64
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		for _, r := range p.Records {
			bytes += int64(len(r.Value))
		}
		records += int64(len(p.Records))
		s := k.spans[p.Partition]
		first, last := p.Records[0].Offset, p.Records[len(p.Records)-1].Offset
		if first < s.to && last >= s.to-1 && k.open.Add(-1) == 0 && k.untilEnd() {
			k.cancel()
		}
	})
	if records == 0 {
		return
	}
	k.last.Store(int64(since(time.Now())))
	k.bytes.Add(bytes)
	if all := k.records.Add(records); k.Records > 0 && k.Duration == 0 && all >= k.Records {
		k.cancel()
	}
}

// watch reads the clocks at the ends of the measured time and ends the run.
func (k *consumer) watch(done <-chan struct{}, r *ConsumeResult) (err error) {
	progress := time.NewTicker(max(k.ProgressEvery, time.Millisecond))
	defer progress.Stop()
	warm := time.NewTimer(k.Warmup)
	defer warm.Stop()
	patience := time.NewTicker(time.Second)
	defer patience.Stop()
	var up <-chan time.Time
	if k.Duration > 0 {
		timer := time.NewTimer(k.Duration)
		defer timer.Stop()
		up = timer.C
	}
	var begun usage
	var began time.Time
	var own time.Duration
	var records, bytes, told, toldBytes int64
	toldAt := r.Start
	for {
		select {
		case <-warm.C:
			began, own, records, bytes = time.Now(), ownCPU(), k.records.Load(), k.bytes.Load()
			if begun, err = usageOf(k.ServerPIDs); err != nil {
				return err
			}
		case <-up:
			k.cancel()
		case <-patience.C:
			if silent := time.Since(epoch.Add(time.Duration(k.last.Load()))); silent > k.Timeout && k.Duration == 0 {
				return fmt.Errorf("no record came for %v; %d were read", silent.Round(time.Second), k.records.Load())
			}
		case <-progress.C:
			if k.Progress != nil && k.ProgressEvery > 0 {
				now, n, b := time.Now(), k.records.Load(), k.bytes.Load()
				k.Progress(Progress{What: "read", Records: n - told, Bytes: b - toldBytes, For: now.Sub(toldAt)})
				told, toldBytes, toldAt = n, b, now
			}
		case <-done:
			end := time.Now()
			if k.Duration == 0 {
				end = epoch.Add(time.Duration(k.last.Load()))
			}
			if began.IsZero() {
				began, own, records, bytes = end, ownCPU(), k.records.Load(), k.bytes.Load()
			}
			ended, err := usageOf(k.ServerPIDs)
			if err != nil {
				return err
			}
			r.Throughput = throughput(k.records.Load()-records, k.bytes.Load()-bytes, end.Sub(began))
			r.End, r.Errors, r.Lost = end, k.failed.count(), k.lost.Load()
			r.ClientCPU, r.Server = (ownCPU() - own).Seconds(), between(begun, ended, r.Bytes)
			return nil
		}
	}
}
