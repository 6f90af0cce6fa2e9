//go:build integration

package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/test/lab"
)

var (
	rounds    = flag.Int("rounds", 20, "how many processes TestSupervisionLoop kills or freezes on each backend")
	roundSeed = flag.Uint64("round-seed", 1, "what TestSupervisionLoop does, in which order")
)

// TestSupervisionLoop kills and freezes brokers and plugins, one after the other.
// After each the node must be back with one plugin of its own: no orphan, no lock
// that is left behind. And no term may have two leaders.
func TestSupervisionLoop(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		random := rand.New(rand.NewPCG(*roundSeed, 0))
		reign := c.WatchReign(t.Context())
		counts := map[string]int{}
		for round := range *rounds {
			n := c.Node(1 + random.IntN(3))
			what := misfortunes[random.IntN(len(misfortunes))]
			counts[what.name]++
			ctx := within(t, time.Minute)
			if err := what.befall(ctx, n); err != nil {
				t.Fatalf("round %d: %s of node %d: %v", round, what.name, n.ID, err)
			}
			if err := recovered(ctx, c, n); err != nil {
				t.Fatalf("round %d (seed %d): after %s of node %d: %v", round, *roundSeed, what.name, n.ID, err)
			}
		}
		terms, err := reign.Stop()
		if err != nil {
			t.Error(err)
		}
		for _, n := range c.Nodes() {
			must(t, n.AwaitReady(within(t, time.Minute)))
		}
		t.Logf("%d rounds, %d terms with a leader: %v", *rounds, terms, counts)
	})
}

// misfortunes are what can happen to a node. Those of a broker leave it running.
var misfortunes = []struct {
	name   string
	befall func(context.Context, *lab.Node) error
}{
	{"kill -9 of the broker", func(_ context.Context, n *lab.Node) error { return errors.Join(n.Kill(), n.Start()) }},
	{"kill -9 of the plugin", func(_ context.Context, n *lab.Node) error { return n.KillPlugin() }},
	{"a pause of the broker", func(ctx context.Context, n *lab.Node) error {
		err := n.Pause()
		pause(ctx, 700*time.Millisecond)
		return errors.Join(err, n.Resume())
	}},
	{"a pause of the plugin", func(ctx context.Context, n *lab.Node) error {
		resume, err := n.PausePlugin()
		if err != nil {
			return err
		}
		pause(ctx, 700*time.Millisecond)
		return resume()
	}},
	{"a frozen plugin", func(ctx context.Context, n *lab.Node) error {
		pid, err := n.PluginPID()
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		return lab.Await(ctx, "the supervisor to kill a frozen plugin", func(context.Context) (bool, string) {
			return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH), "it is there"
		})
	}},
	{"kill -9 of a frozen broker", func(_ context.Context, n *lab.Node) error { return errors.Join(n.Pause(), n.Kill(), n.Start()) }},
}

// recovered waits until every node has its plugin, it runs, knows a leader, and
// there is no other plugin.
func recovered(ctx context.Context, c *lab.Cluster, hurt *lab.Node) error {
	return lab.Await(ctx, "one plugin per node, all at work", func(ctx context.Context) (bool, string) {
		if !hurt.Running() {
			ok, seen := hurt.Ready(ctx)
			return ok, seen
		}
		var own []int
		for _, n := range c.Nodes() {
			s, err := n.Consensus(ctx)
			if err != nil {
				return false, err.Error()
			}
			if s.Plugin.State != "running" || s.Replica.Leader == 0 || s.Error != "" {
				return false, fmt.Sprintf("node %d: plugin %s, leader %d, error %q", n.ID, s.Plugin.State, s.Replica.Leader, s.Error)
			}
			own = append(own, s.Plugin.PID)
		}
		all, err := c.Plugins()
		if err != nil {
			return false, err.Error()
		}
		slices.Sort(own)
		slices.Sort(all)
		return slices.Equal(own, all), fmt.Sprintf("plugins %v, of which %v have a node", all, own)
	})
}

// TestConsensusCommands looks at a cluster and moves its leadership as an
// operator does.
func TestConsensusCommands(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, time.Minute)
		out, errs, err := c.Run(ctx, "consensus", "status")
		if err != nil || strings.Count(out, "leader-ready") != 1 || strings.Count(out, "follower") != 2 || strings.Count(out, "running") != 3 {
			t.Errorf("status: %v %s\n%s", err, errs, out)
		}
		t.Log("\n" + out)
		leader, err := c.Controller(ctx, c.Node(1))
		must(t, err)
		to := leader%3 + 1
		_, errs, err = c.Run(ctx, "consensus", "transfer-leader", "--to", fmt.Sprint(to))
		if err != nil {
			t.Fatalf("transfer-leader: %v %s", err, errs)
		}
		must(t, lab.Await(ctx, "the new leader", func(ctx context.Context) (bool, string) {
			s, err := c.Node(to).Consensus(ctx)
			return err == nil && s.Replica.Role == "leader-ready", fmt.Sprintf("%+v %v", s.Replica, err)
		}))
		// Kafka's own question, asked of a broker that does not lead. It, and the leader's
		// second follower, may hear of the new term a moment later.
		must(t, lab.Await(ctx, "DescribeQuorum to show three voters that follow", func(ctx context.Context) (bool, string) {
			quorum, err := describeQuorum(ctx, c.Node(leader))
			behind := func(v kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool {
				return v.LogEndOffset < quorum.HighWatermark-10 || v.LastFetchTimestamp <= 0
			}
			ok := err == nil && quorum.LeaderID == int32(to) && len(quorum.CurrentVoters) == 3 && !slices.ContainsFunc(quorum.CurrentVoters, behind)
			return ok, fmt.Sprintf("%+v %v", quorum, err)
		}))
		// A single address that is not the leader's says who leads.
		_, errs, err = c.Run(ctx, "consensus", "remove", "3", "--admin", c.Node(leader).Admin)
		if err == nil || !strings.Contains(errs, fmt.Sprintf("replica %d leads the metadata log", to)) {
			t.Errorf("remove through a follower: %v %s", err, errs)
		}
	})
}

func describeQuorum(ctx context.Context, via *lab.Node) (kmsg.DescribeQuorumResponseTopicPartition, error) {
	none := kmsg.DescribeQuorumResponseTopicPartition{}
	client, err := lab.Client(via.Client)
	if err != nil {
		return none, err
	}
	defer client.Close()
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	resp, err := client.Broker(via.ID).RetriableRequest(ctx, req)
	if err != nil {
		return none, err
	}
	answer, ok := resp.(*kmsg.DescribeQuorumResponse)
	if !ok || answer.ErrorCode != 0 || len(answer.Topics) != 1 || answer.Topics[0].Partitions[0].ErrorCode != 0 {
		return none, fmt.Errorf("DescribeQuorum: got %+v", resp)
	}
	return answer.Topics[0].Partitions[0], nil
}
