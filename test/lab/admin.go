package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Client returns a Kafka client that starts from the given addresses.
func Client(bootstrap ...string) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(bootstrap...),
		kgo.AlwaysRetryEOF(), // a killed broker may hang up on the first request
		kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RetryTimeout(20*time.Second),
	)
}

// CreateTopic creates a topic and waits until every running node shows it, led.
func (c *Cluster) CreateTopic(ctx context.Context, via *Node, topic string, partitions int32, replicas int16, configs map[string]*string) error {
	client, err := Client(via.Client)
	if err != nil {
		return err
	}
	defer client.Close()
	resp, err := kadm.NewClient(client).CreateTopic(ctx, partitions, replicas, configs, topic)
	if err != nil {
		return fmt.Errorf("create topic %s through node %d: %w (%s)", topic, via.ID, err, resp.ErrMessage)
	}
	for _, n := range c.Nodes() {
		if !n.Running() {
			continue
		}
		if err := n.AwaitTopic(ctx, topic, int(replicas)); err != nil {
			return err
		}
	}
	return nil
}

// AwaitTopic waits until the node shows every partition of the topic with a
// leader and isr in-sync replicas.
func (n *Node) AwaitTopic(ctx context.Context, topic string, isr int) error {
	client, err := Client(n.Client)
	if err != nil {
		return err
	}
	defer client.Close()
	return Await(ctx, fmt.Sprintf("topic %s on node %d with %d in-sync replicas", topic, n.ID, isr), func(ctx context.Context) (bool, string) {
		t, err := n.describe(ctx, client, topic)
		if err != nil {
			return false, err.Error()
		}
		for _, p := range t.Partitions {
			if p.Err != nil || p.Leader < 0 || len(p.ISR) < isr {
				return false, fmt.Sprintf("partition %d: leader %d, in sync %v, error %v", p.Partition, p.Leader, p.ISR, p.Err)
			}
		}
		return true, "all in sync"
	})
}

func (n *Node) describe(ctx context.Context, client *kgo.Client, topic string) (kadm.TopicDetail, error) {
	meta, err := kadm.NewClient(client).Metadata(ctx, topic)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	t := meta.Topics[topic]
	return t, t.Err
}

// Leader returns the node that leads a partition, as the given node knows it.
func (c *Cluster) Leader(ctx context.Context, via *Node, topic string, partition int32) (*Node, error) {
	client, err := Client(via.Client)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	t, err := via.describe(ctx, client, topic)
	if err != nil {
		return nil, err
	}
	p, ok := t.Partitions[partition]
	if !ok || p.Leader < 0 {
		return nil, fmt.Errorf("%s-%d has no leader on node %d", topic, partition, via.ID)
	}
	return c.Node(int(p.Leader)), nil
}

// endOffset returns where a partition ends for consumers. A leader that was just elected
// is asked again until it knows.
func endOffset(ctx context.Context, client *kgo.Client, topic string, partition int32) (end int64, err error) {
	what := fmt.Sprintf("the end of %s/%d", topic, partition)
	waited := Await(ctx, what, func(ctx context.Context) (bool, string) {
		var ends kadm.ListedOffsets
		if ends, err = kadm.NewClient(client).ListEndOffsets(ctx, topic); err != nil {
			return true, ""
		}
		o, ok := ends.Lookup(topic, partition)
		if !ok {
			err = fmt.Errorf("no partition %d of %s", partition, topic)
			return true, ""
		}
		end, err = o.Offset, o.Err
		return !kerr.IsRetriable(err), fmt.Sprint(err)
	})
	return end, errors.Join(err, waited)
}

// Leaders returns "leader/epoch" of every partition of a topic, as the given
// node knows them.
func (c *Cluster) Leaders(ctx context.Context, via *Node, topic string) (map[int32]string, error) {
	client, err := Client(via.Client)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	t, err := via.describe(ctx, client, topic)
	if err != nil {
		return nil, err
	}
	out := make(map[int32]string, len(t.Partitions))
	for id, p := range t.Partitions {
		out[id] = fmt.Sprintf("%d/%d", p.Leader, p.LeaderEpoch)
	}
	return out, nil
}

// Controller returns the id of the active controller, as the given node knows it.
func (c *Cluster) Controller(ctx context.Context, via *Node) (int, error) {
	client, err := Client(via.Client)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	meta, err := kadm.NewClient(client).BrokerMetadata(ctx)
	return int(meta.Controller), err
}
