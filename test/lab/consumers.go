package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Consumers are the members of a consumer group that read one topic, commit what
// they have read, and note when the group or the log breaks its word: a member
// that is handed a partition below what was committed before, or a record that
// later is another one.
type Consumers struct {
	group, topic string
	stop         func()
	done         sync.WaitGroup

	mu        sync.Mutex // of all below
	committed map[int32]int64
	seen      map[int32]map[int64]string // values by partition and offset
	failures  []error
}

// StartConsumers starts the members of a group. Their session outlasts every
// pause of a node: a coordinator that sleeps for longer may answer from before.
func StartConsumers(ctx context.Context, bootstrap []string, group, topic string, members int) (*Consumers, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &Consumers{group: group, topic: topic, stop: cancel, committed: map[int32]int64{}, seen: map[int32]map[int64]string{}}
	for range members {
		client, err := kgo.NewClient(
			kgo.SeedBrokers(bootstrap...),
			kgo.AlwaysRetryEOF(), // a killed broker may hang up on the first request
			kgo.ConsumerGroup(group),
			kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.DisableAutoCommit(),
			kgo.AdjustFetchOffsetsFn(c.assigned),
			kgo.SessionTimeout(30*time.Second),
			kgo.RequestTimeoutOverhead(30*time.Second),
			kgo.MetadataMinAge(50*time.Millisecond),
			kgo.FetchMaxWait(200*time.Millisecond),
		)
		if err != nil {
			cancel()
			return nil, err
		}
		c.done.Go(func() {
			defer client.Close()
			for ctx.Err() == nil {
				c.poll(ctx, client)
			}
		})
	}
	return c, nil
}

// assigned compares where a member is to go on with what was committed.
func (c *Consumers) assigned(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, o := range offsets[c.topic] {
		if at, committed := o.EpochOffset().Offset, c.committed[p]; committed > 0 && at < committed {
			c.failures = append(c.failures, fmt.Errorf("group %s: %s-%d was committed at %d and is assigned from %d", c.group, c.topic, p, committed, at))
		}
	}
	return offsets, nil
}

// poll reads once and commits what it has read.
func (c *Consumers) poll(ctx context.Context, client *kgo.Client) {
	fetches := client.PollRecords(ctx, 1000)
	c.note(fetches)
	var committed []*kgo.Record
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) > 0 {
			committed = append(committed, p.Records[len(p.Records)-1])
		}
	})
	if len(committed) == 0 || client.CommitRecords(ctx, committed...) != nil {
		return // a group that is rebalanced refuses; whoever is next reads them again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range committed {
		c.committed[r.Partition] = max(c.committed[r.Partition], r.Offset+1)
	}
}

// note compares what was read with what was read before.
func (c *Consumers) note(fetches kgo.Fetches) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fetches.EachError(func(topic string, p int32, err error) {
		if _, lost := errors.AsType[*kgo.ErrDataLoss](err); lost {
			c.failures = append(c.failures, fmt.Errorf("group %s: %s-%d: %w", c.group, topic, p, err))
		}
	})
	fetches.EachRecord(func(r *kgo.Record) {
		seen := c.seen[r.Partition]
		if seen == nil {
			seen = map[int64]string{}
			c.seen[r.Partition] = seen
		}
		if before, ok := seen[r.Offset]; ok && before != string(r.Value) {
			c.failures = append(c.failures, fmt.Errorf("%s-%d: record %s at offset %d was %s before", c.topic, r.Partition, r.Value, r.Offset, before))
		}
		seen[r.Offset] = string(r.Value)
	})
}

// AwaitProgress waits until the group has committed count more records than now. A
// client that was away while all brokers changed has nobody left to ask.
func (c *Consumers) AwaitProgress(ctx context.Context, count int64) error {
	want := c.total() + count
	return Await(ctx, fmt.Sprintf("group %s to go on", c.group), func(context.Context) (bool, string) {
		at := c.total()
		return at >= want, fmt.Sprintf("%d of %d records committed", at, want)
	})
}

// total is the sum of the offsets that were committed.
func (c *Consumers) total() (sum int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.committed {
		sum += at
	}
	return sum
}

// Await waits until the group has committed everything up to the topic's end.
func (c *Consumers) Await(ctx context.Context, bootstrap ...string) error {
	client, err := Client(bootstrap...)
	if err != nil {
		return err
	}
	defer client.Close()
	return Await(ctx, fmt.Sprintf("group %s to reach the end of %s", c.group, c.topic), func(ctx context.Context) (bool, string) {
		ends, err := kadm.NewClient(client).ListEndOffsets(ctx, c.topic)
		if err != nil {
			return false, err.Error()
		}
		want := map[int32]int64{}
		ends.Each(func(o kadm.ListedOffset) {
			if o.Offset > 0 {
				want[o.Partition] = o.Offset
			}
		})
		c.mu.Lock()
		defer c.mu.Unlock()
		return maps.Equal(c.committed, want), fmt.Sprintf("committed %v of %v", c.committed, want)
	})
}

// Stop ends the members and returns what they noted.
func (c *Consumers) Stop() error {
	c.stop()
	c.done.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.failures...)
}

// Verify wants, through the given brokers, every committed offset where it was
// acknowledged, and at every offset the record that the members read there.
func (c *Consumers) Verify(ctx context.Context, bootstrap ...string) error {
	client, err := Client(bootstrap...)
	if err != nil {
		return err
	}
	defer client.Close()
	offsets, err := kadm.NewClient(client).FetchOffsets(ctx, c.group)
	if err != nil {
		return fmt.Errorf("fetch the offsets of group %s: %w", c.group, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for p, want := range c.committed {
		if got, ok := offsets.Lookup(c.topic, p); !ok || got.At < want {
			errs = append(errs, fmt.Errorf("group %s: %s-%d was committed at %d and is at %d (known: %v)", c.group, c.topic, p, want, got.At, ok))
		}
	}
	for p, seen := range c.seen {
		errs = append(errs, c.compare(ctx, bootstrap, p, seen))
	}
	return errors.Join(errs...)
}

func (c *Consumers) compare(ctx context.Context, bootstrap []string, p int32, seen map[int64]string) error {
	records, err := ReadPartition(ctx, bootstrap, c.topic, p)
	if err != nil {
		return err
	}
	there := make(map[int64]string, len(records))
	for _, r := range records {
		there[r.Offset] = string(r.Value)
	}
	for offset, value := range seen {
		if there[offset] != value {
			return fmt.Errorf("%s-%d: a consumer read record %s at offset %d, where %q is now", c.topic, p, value, offset, there[offset])
		}
	}
	return nil
}
