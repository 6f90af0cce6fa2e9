package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topic is what to load.
type Topic struct {
	Name string
	// Partitions and Replicas are those of a topic that does not exist yet; -1 is the
	// broker's default. Of one that does, Partitions must be right or -1.
	Partitions int32
	Replicas   int16
	Configs    map[string]*string
}

// refreshEvery bounds how often the leaders are asked for.
const refreshEvery = 50 * time.Millisecond

// topology is who leads the partitions of a topic.
type topology struct {
	client  *kgo.Client
	topic   string
	id      kadm.TopicID
	brokers []int32
	leaders atomic.Pointer[[]int32] // by partition; -1: nobody
	onMove  func(leaders []int32)

	mu   sync.Mutex // one refresh at a time
	last time.Time
}

// prepare makes the topic unless it exists, and waits until every partition is led.
func prepare(ctx context.Context, client *kgo.Client, t Topic, patience time.Duration) (*topology, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	made, err := create(ctx, kadm.NewClient(client), t)
	if err != nil {
		return nil, fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	top, err := discover(ctx, client, t.Name, made)
	if err == nil && t.Partitions > 0 && top.partitions() != int(t.Partitions) {
		return nil, fmt.Errorf("topic %s has %d partitions, not %d", t.Name, top.partitions(), t.Partitions)
	}
	if err == nil { // its leaders may not know yet that they are
		_, err = spansOf(ctx, client, t.Name, true)
	}
	return top, err
}

// mostAtOnce is how many partitions brokers can be asked for in one request.
const mostAtOnce = 2000

// create makes a topic, a part of its partitions at a time, unless it exists. It
// returns how many partitions it made.
func create(ctx context.Context, adm *kadm.Client, t Topic) (made int32, err error) {
	made = min(t.Partitions, mostAtOnce)
	resp, err := adm.CreateTopics(ctx, made, t.Replicas, t.Configs, t.Name)
	if err != nil {
		return 0, err
	}
	if r := resp[t.Name]; errors.Is(r.Err, kerr.TopicAlreadyExists) {
		return 0, nil
	} else if r.Err != nil {
		return 0, fmt.Errorf("%w %s", r.Err, r.ErrMessage)
	}
	for made < t.Partitions {
		made = min(t.Partitions, made+mostAtOnce)
		resp, err := adm.UpdatePartitions(ctx, int(made), t.Name)
		if err != nil {
			return 0, err
		}
		if r := resp[t.Name]; r.Err != nil {
			return 0, fmt.Errorf("%w %s", r.Err, r.ErrMessage)
		}
	}
	return made, nil
}

// discover waits until a topic has at least so many partitions and all are led.
func discover(ctx context.Context, client *kgo.Client, topic string, least int32) (*topology, error) {
	top := &topology{client: client, topic: topic}
	pause := time.NewTicker(refreshEvery)
	defer pause.Stop()
	for {
		err := top.ask(ctx)
		if leaders := top.leaders.Load(); err == nil && !slices.Contains(*leaders, -1) && len(*leaders) >= int(least) {
			return top, nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the leaders of topic %s: %w", topic, errors.Join(err, ctx.Err()))
		}
	}
}

// ask asks for the leaders.
func (t *topology) ask(ctx context.Context) error {
	meta, err := kadm.NewClient(t.client).Metadata(ctx, t.topic)
	if err != nil {
		return err
	}
	topic := meta.Topics[t.topic]
	if topic.Err != nil {
		return topic.Err
	}
	if len(topic.Partitions) == 0 {
		return fmt.Errorf("topic %s has no partitions", t.topic)
	}
	leaders := make([]int32, len(topic.Partitions))
	for i := range leaders {
		leaders[i] = -1
		if p, ok := topic.Partitions[int32(i)]; ok && p.Err == nil {
			leaders[i] = p.Leader
		}
	}
	t.id, t.brokers = topic.ID, meta.Brokers.NodeIDs()
	t.leaders.Store(&leaders)
	return nil
}

// refresh asks again, after a broker said that it does not lead, or did not say
// anything. It waits rather than asking too often.
func (t *topology) refresh(ctx context.Context) error {
	asked := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last.After(asked) {
		return nil // somebody else did meanwhile
	}
	pause := time.NewTimer(time.Until(t.last.Add(refreshEvery)))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := t.ask(ctx)
	t.last = time.Now()
	if err == nil && t.onMove != nil {
		t.onMove(*t.leaders.Load())
	}
	return err
}

func (t *topology) leader(partition int32) int32 { return (*t.leaders.Load())[partition] }

func (t *topology) partitions() int { return len(*t.leaders.Load()) }
