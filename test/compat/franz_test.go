//go:build integration

package compat

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/test/lab"
)

// franz-go: an idempotent producer and a group of two, of which one leaves.
func TestFranzGo(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, time.Minute)
		const topic = "franz"
		must(t, c.CreateTopic(ctx, c.Node(3), topic, 6, 3, nil))
		want := numbered("franz", 1000)
		franzProduce(ctx, t, c, topic, want[:500])

		var seen collector
		one := seen.member(ctx, t, c, topic)
		must(t, seen.await(ctx, 500))
		two := seen.member(ctx, t, c, topic)
		franzProduce(ctx, t, c, topic, want[500:750])
		must(t, seen.await(ctx, 750))
		one() // leaves: the other one takes over
		franzProduce(ctx, t, c, topic, want[750:])
		must(t, seen.await(ctx, 1000))
		two()
		same(t, seen.unique(), want)
	})
}

func franzProduce(ctx context.Context, t *testing.T, c *lab.Cluster, topic string, values []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	must(t, err)
	defer client.Close()
	records := make([]*kgo.Record, len(values))
	for i, v := range values {
		records[i] = kgo.StringRecord(v)
	}
	must(t, client.ProduceSync(ctx, records...).FirstErr())
}

// collector is what the members of a group have consumed together. A record may
// come twice around a rebalance; none may be missing.
type collector struct {
	mu   sync.Mutex
	seen map[string]bool
}

// member joins the group; the function it returns makes the member leave.
func (s *collector) member(ctx context.Context, t *testing.T, c *lab.Cluster, topic string) (leave func()) {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(c.Bootstrap()...), kgo.ConsumerGroup("franz-pair"), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.AutoCommitInterval(200*time.Millisecond),
	)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			fetches := client.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			s.add(fetches)
		}
	}()
	return func() {
		client.Close()
		<-done
	}
}

func (s *collector) add(fetches kgo.Fetches) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	fetches.EachRecord(func(r *kgo.Record) { s.seen[string(r.Value)] = true })
}

func (s *collector) unique() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for v := range s.seen {
		out = append(out, v)
	}
	return out
}

func (s *collector) await(ctx context.Context, count int) error {
	return lab.Await(ctx, "the group to consume", func(context.Context) (bool, string) {
		n := len(s.unique())
		return n >= count, numbered("consumed", n+1)[n]
	})
}
