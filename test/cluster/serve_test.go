//go:build integration

package cluster

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
	"github.com/quorate/quorate/protocol/record"
	"github.com/quorate/quorate/test/lab"
)

// A healthy cluster: topics through any node, records on every disk, a client at
// the wrong node sent to the right one, every record through every address.
func TestServe(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		t.Run("topics through any node", func(t *testing.T) { topicsThroughAnyNode(t, c) })
		t.Run("a batch reaches every disk", func(t *testing.T) { batchOnEveryDisk(t, c) })
		t.Run("the wrong node names the right one", func(t *testing.T) { wrongNodeNamesTheRight(t, c) })
		t.Run("every record through every address", func(t *testing.T) { everyRecordEverywhere(t, c) })
		t.Run("a client cannot claim to be a replica", func(t *testing.T) { clientIsNoReplica(t, c) })
		t.Run("a group survives its coordinator", func(t *testing.T) { groupSurvivesCoordinator(t, c) })
	})
}

func topicsThroughAnyNode(t *testing.T, c *lab.Cluster) {
	for _, n := range c.Nodes() {
		must(t, c.CreateTopic(within(t, 30*time.Second), n, fmt.Sprintf("made-by-%d", n.ID), 3, 3, nil))
	}
}

func batchOnEveryDisk(t *testing.T, c *lab.Cluster) {
	ctx := within(t, 30*time.Second)
	must(t, c.CreateTopic(ctx, c.Node(1), "on-disk", 1, 3, nil))
	leader, err := c.Leader(ctx, c.Node(1), "on-disk", 0)
	must(t, err)
	client, err := kgo.NewClient(kgo.SeedBrokers(leader.Client), kgo.DefaultProduceTopic("on-disk"))
	must(t, err)
	defer client.Close()
	must(t, client.ProduceSync(ctx, kgo.StringRecord("to every disk")).FirstErr())
	for _, n := range c.Nodes() {
		must(t, lab.Await(ctx, fmt.Sprintf("the batch on node %d", n.ID), func(ctx context.Context) (bool, string) {
			dump, err := logDump(ctx, n, "on-disk", 0)
			if err != nil {
				return false, err.Error()
			}
			return strings.Contains(dump, "to every disk"), dump
		}))
	}
}

// logDump is what `quorate log dump` prints of a partition.
func logDump(ctx context.Context, n *lab.Node, topic string, partition int32) (string, error) {
	dir := filepath.Join(n.DataDir(), fmt.Sprintf("%s-%d", topic, partition))
	out, err := exec.CommandContext(ctx, binary, "log", "dump", "--records", dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("log dump: %w: %s", err, out)
	}
	return string(out), nil
}

func wrongNodeNamesTheRight(t *testing.T, c *lab.Cluster) {
	ctx := within(t, 30*time.Second)
	const topic = "elsewhere"
	must(t, c.CreateTopic(ctx, c.Node(1), topic, 1, 3, nil))
	leader, err := c.Leader(ctx, c.Node(1), topic, 0)
	must(t, err)
	follower := c.Node(leader.ID%3 + 1)
	client, err := lab.Client(follower.Client)
	must(t, err)
	defer client.Close()

	// The node's id is only known to the client once it has seen metadata.
	must(t, client.Ping(ctx))
	meta, err := kadm.NewClient(client).Metadata(ctx, topic)
	must(t, err)
	id := meta.Topics[topic].ID

	t.Run("produce", func(t *testing.T) {
		resp, err := client.Broker(follower.ID).Request(ctx, produceRequest(topic))
		must(t, err)
		produce := resp.(*kmsg.ProduceResponse)
		p := produce.Topics[0].Partitions[0]
		if got := protocol.ErrorCode(p.ErrorCode); got != protocol.NotLeaderOrFollower {
			t.Errorf("error %s, want %s", got, protocol.NotLeaderOrFollower)
		}
		if int(p.CurrentLeader.LeaderID) != leader.ID || p.CurrentLeader.LeaderEpoch < 0 {
			t.Errorf("current leader %d in epoch %d, want leader %d", p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch, leader.ID)
		}
		if len(produce.Brokers) != 1 || address(produce.Brokers[0].Host, produce.Brokers[0].Port) != leader.Client {
			t.Errorf("node endpoints %v, want %s", produce.Brokers, leader.Client)
		}
	})
	t.Run("fetch", func(t *testing.T) {
		resp, err := client.Broker(follower.ID).Request(ctx, fetchRequest(topic, id, -1))
		must(t, err)
		fetch := resp.(*kmsg.FetchResponse)
		p := fetch.Topics[0].Partitions[0]
		if got := protocol.ErrorCode(p.ErrorCode); got != protocol.NotLeaderOrFollower {
			t.Errorf("error %s, want %s", got, protocol.NotLeaderOrFollower)
		}
		if int(p.CurrentLeader.LeaderID) != leader.ID {
			t.Errorf("current leader %d, want %d", p.CurrentLeader.LeaderID, leader.ID)
		}
		if len(fetch.Brokers) != 1 || address(fetch.Brokers[0].Host, fetch.Brokers[0].Port) != leader.Client {
			t.Errorf("node endpoints %v, want %s", fetch.Brokers, leader.Client)
		}
	})
}

func address(host string, port int32) string { return fmt.Sprintf("%s:%d", host, port) }

func produceRequest(topic string) *kmsg.ProduceRequest {
	b := record.NewBuilder()
	b.Add(time.Now().UnixMilli(), nil, []byte("misdirected"))
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 5000
	req.Topics = []kmsg.ProduceRequestTopic{{
		Topic:      topic,
		Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 0, Records: b.Bytes()}},
	}}
	return req
}

func fetchRequest(topic string, id [16]byte, replicaID int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 100, 1, 1<<20
	req.ReplicaID, req.ReplicaState.ID = replicaID, replicaID
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = topic, id, []kmsg.FetchRequestTopicPartition{p}
	req.Topics = []kmsg.FetchRequestTopic{t}
	return req
}

func everyRecordEverywhere(t *testing.T, c *lab.Cluster) {
	ctx := within(t, time.Minute)
	const topic, partitions = "everywhere", 6
	must(t, c.CreateTopic(ctx, c.Node(2), topic, partitions, 3, nil))
	w, err := lab.StartWorkload(ctx, c.Bootstrap(), topic, partitions, 500, 1)
	must(t, err)
	must(t, w.AwaitProgress(ctx, 600))
	must(t, w.Stop(ctx))
	for _, n := range c.Nodes() {
		must(t, w.Verify(ctx, n.Client))
	}
}

func clientIsNoReplica(t *testing.T, c *lab.Cluster) {
	ctx := within(t, 30*time.Second)
	client, err := lab.Client(c.Node(1).Client)
	must(t, err)
	defer client.Close()
	must(t, client.Ping(ctx))
	meta, err := kadm.NewClient(client).Metadata(ctx, "on-disk")
	must(t, err)
	resp, err := client.Broker(1).Request(ctx, fetchRequest("on-disk", meta.Topics["on-disk"].ID, 2))
	must(t, err)
	if got := protocol.ErrorCode(resp.(*kmsg.FetchResponse).ErrorCode); got != protocol.ClusterAuthorizationFailed {
		t.Errorf("error %s, want %s", got, protocol.ClusterAuthorizationFailed)
	}
}

func groupSurvivesCoordinator(t *testing.T, c *lab.Cluster) {
	ctx := within(t, time.Minute)
	const topic, groupID, records = "grouped", "survivors", 300
	must(t, c.CreateTopic(ctx, c.Node(3), topic, 3, 3, nil))
	producer, err := lab.Client(c.Bootstrap()...)
	must(t, err)
	defer producer.Close()
	for i := range records {
		must(t, producer.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i)}).FirstErr())
	}
	first := consumeGroup(ctx, t, c, topic, groupID, records/2)
	coordinator := findCoordinator(ctx, t, producer, groupID)
	must(t, c.Node(coordinator).Kill())
	rest := consumeGroup(ctx, t, c, topic, groupID, records-len(first))
	must(t, c.Node(coordinator).Start())
	must(t, c.Node(coordinator).AwaitReady(ctx))
	for v := range rest {
		if first[v] {
			t.Errorf("record %s was committed before the coordinator died and came again", v)
		}
	}
	if got := len(first) + len(rest); got != records {
		t.Errorf("consumed %d records, want %d", got, records)
	}
}

// consumeGroup consumes at least count records as a group of one, commits and leaves.
func consumeGroup(ctx context.Context, t *testing.T, c *lab.Cluster, topic, groupID string, count int) map[string]bool {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(c.Bootstrap()...), kgo.ConsumerGroup(groupID), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.MetadataMinAge(50*time.Millisecond),
	)
	must(t, err)
	defer client.Close()
	seen := map[string]bool{}
	for len(seen) < count {
		fetches := client.PollRecords(ctx, count-len(seen))
		if ctx.Err() != nil {
			t.Fatalf("consumed %d of %d records: %v", len(seen), count, ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
	must(t, client.CommitUncommittedOffsets(ctx))
	must(t, client.LeaveGroupContext(ctx))
	return seen
}

func findCoordinator(ctx context.Context, t *testing.T, client *kgo.Client, groupID string) int {
	t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKey, req.CoordinatorKeys = groupID, []string{groupID}
	resp, err := req.RequestWith(ctx, client)
	must(t, err)
	if len(resp.Coordinators) == 1 {
		return int(resp.Coordinators[0].NodeID)
	}
	return int(resp.NodeID)
}
