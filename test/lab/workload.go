package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Workload produces numbered records, idempotently and with acks=all, until it
// is stopped, and knows which of them were acknowledged. Each producer numbers
// its records in the order it produces them.
type Workload struct {
	topic      string
	partitions int32
	clients    []*kgo.Client

	mu       sync.Mutex // of all below; never held while producing
	acked    []map[RecordID]int64
	last     []time.Time // of each partition's last acknowledgement
	longest  time.Duration
	outages  []Outage
	stopped  bool // nothing more is to be acknowledged
	failures []error

	stop func()
	done sync.WaitGroup
}

// Outage is a time without an acknowledgement of any producer's record in a
// partition.
type Outage struct {
	Partition int32
	From      time.Time
	For       time.Duration
}

// shortestOutage is what Outages tells of.
const shortestOutage = time.Second

// RecordID is a record's value: "PRODUCER NUMBER".
type RecordID struct{ Producer, Number int64 }

// String returns the record's value.
func (id RecordID) String() string { return fmt.Sprintf("%d %d", id.Producer, id.Number) }

// ParseRecordID is the reverse of String.
func ParseRecordID(value []byte) (id RecordID, err error) {
	if _, err := fmt.Sscanf(string(value), "%d %d", &id.Producer, &id.Number); err != nil {
		return id, fmt.Errorf("record %q: %w", value, err)
	}
	return id, nil
}

// StartWorkload produces about rate records a second, evenly over the
// partitions of topic, which must exist, and over as many producers.
func StartWorkload(ctx context.Context, bootstrap []string, topic string, partitions int32, rate, producers int) (*Workload, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &Workload{topic: topic, partitions: partitions, stop: cancel}
	for range partitions {
		w.acked, w.last = append(w.acked, map[RecordID]int64{}), append(w.last, time.Now())
	}
	for range producers {
		client, err := kgo.NewClient(
			kgo.SeedBrokers(bootstrap...),
			kgo.AlwaysRetryEOF(), // a killed broker may hang up on the first request
			kgo.DefaultProduceTopic(topic),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.ProducerLinger(0),
			kgo.MetadataMinAge(50*time.Millisecond),
			kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
			kgo.RequestTimeoutOverhead(5*time.Second),
		)
		if err != nil {
			cancel()
			return nil, err
		}
		w.clients = append(w.clients, client)
	}
	for i, client := range w.clients {
		w.done.Go(func() { w.run(ctx, client, int64(i), time.Second*time.Duration(producers)/time.Duration(rate)) })
	}
	return w, nil
}

func (w *Workload) run(ctx context.Context, client *kgo.Client, producer int64, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := int64(0); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id := RecordID{producer, n}
		r := &kgo.Record{Partition: int32(n % int64(w.partitions)), Value: []byte(id.String())}
		// Records that were begun are carried to their end, stopped or not.
		client.Produce(context.WithoutCancel(ctx), r, w.acknowledged(id))
	}
}

func (w *Workload) acknowledged(id RecordID) func(*kgo.Record, error) {
	return func(r *kgo.Record, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.failures = append(w.failures, fmt.Errorf("record %s: %w", id, err))
			return
		}
		w.acked[r.Partition][id] = r.Offset
		now := time.Now()
		last := w.last[r.Partition]
		gap := now.Sub(last)
		if gap >= shortestOutage {
			w.outages = append(w.outages, Outage{r.Partition, last, gap})
		}
		w.longest, w.last[r.Partition] = max(w.longest, gap), now
	}
}

// Acked returns how many records were acknowledged so far.
func (w *Workload) Acked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, a := range w.acked {
		n += len(a)
	}
	return n
}

// LongestGap is the longest time between two acknowledgements in a partition so far.
func (w *Workload) LongestGap() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := w.longest
	for _, last := range w.last {
		if !w.stopped {
			longest = max(longest, time.Since(last))
		}
	}
	return longest
}

// Outages returns the outages that are over and took a second or more.
func (w *Workload) Outages() []Outage {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.outages)
}

// AwaitProgress waits until count more records were acknowledged.
func (w *Workload) AwaitProgress(ctx context.Context, count int) error {
	want := w.Acked() + count
	return Await(ctx, fmt.Sprintf("%d more acknowledged records", count), func(context.Context) (bool, string) {
		got := w.Acked()
		return got >= want, fmt.Sprintf("%d of %d", got, want)
	})
}

// Stop ends the producing and waits until every record is acknowledged or
// failed. A record that failed is an error: an idempotent producer goes on for
// as long as its cluster lives.
func (w *Workload) Stop(ctx context.Context) error {
	w.stop()
	w.done.Wait()
	var errs []error
	for _, client := range w.clients {
		errs = append(errs, client.Flush(ctx))
		client.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	return errors.Join(append(errs, w.failures...)...)
}

// Verify reads the topic through the given brokers and compares it with what
// was acknowledged: every acknowledged record is there, once, at its offset, and
// the records of a producer are in order within each partition.
func (w *Workload) Verify(ctx context.Context, bootstrap ...string) error {
	var errs []error
	for p := range w.partitions {
		values, err := ReadPartition(ctx, bootstrap, w.topic, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s-%d: %w", w.topic, p, err))
			continue
		}
		errs = append(errs, w.verifyPartition(p, values))
	}
	return errors.Join(errs...)
}

func (w *Workload) verifyPartition(p int32, records []*kgo.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(map[RecordID]int64, len(records))
	previous := map[int64]int64{} // a producer's last number
	for _, r := range records {
		id, err := ParseRecordID(r.Value)
		if err != nil {
			return fmt.Errorf("%s-%d offset %d: %w", w.topic, p, r.Offset, err)
		}
		if at, twice := seen[id]; twice {
			return fmt.Errorf("%s-%d: record %s is doubled, at offsets %d and %d", w.topic, p, id, at, r.Offset)
		}
		if last, ok := previous[id.Producer]; ok && id.Number < last {
			return fmt.Errorf("%s-%d: record %s at offset %d comes after number %d", w.topic, p, id, r.Offset, last)
		}
		seen[id], previous[id.Producer] = r.Offset, id.Number
	}
	for id, offset := range w.acked[p] {
		at, ok := seen[id]
		if !ok {
			return fmt.Errorf("%s-%d: acknowledged record %s (offset %d) is missing among %d records", w.topic, p, id, offset, len(records))
		}
		if at != offset {
			return fmt.Errorf("%s-%d: record %s was acknowledged at offset %d and is at %d", w.topic, p, id, offset, at)
		}
	}
	return nil
}

// ReadPartition reads a partition from its start to the end it has now.
func ReadPartition(ctx context.Context, bootstrap []string, topic string, partition int32) ([]*kgo.Record, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap...),
		kgo.AlwaysRetryEOF(), // a killed broker may hang up on the first request
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.MetadataMinAge(50*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	end, err := endOffset(ctx, client, topic, partition)
	if err != nil {
		return nil, err
	}
	var out []*kgo.Record
	for next := int64(0); next < end; {
		fetches := client.PollFetches(ctx)
		if err := fatal(fetches); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset < end {
				out = append(out, r)
			}
			next = r.Offset + 1
		})
	}
	return out, nil
}

// fatal returns the first error that polling again will not mend.
func fatal(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if !kerr.IsRetriable(e.Err) {
			return e.Err
		}
	}
	return nil
}
