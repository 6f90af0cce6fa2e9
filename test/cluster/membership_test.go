//go:build integration

package cluster

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/core/admin"
	"github.com/quorate/quorate/test/lab"
)

var replaceSeed = flag.Uint64("replace-seed", 0, "decides the order in which TestReplaceEveryNode replaces the nodes; 0: another one each time")

// awaitMembers waits until every given node knows the metadata log's members as
// exactly these brokers, one voter each, and returns their replicas by broker.
func awaitMembers(ctx context.Context, t *testing.T, nodes []*lab.Node, brokers ...int) map[int]uint64 {
	t.Helper()
	replicas := map[int]uint64{}
	for _, n := range nodes {
		must(t, lab.Await(ctx, fmt.Sprintf("node %d to know the members %v", n.ID, brokers), func(ctx context.Context) (bool, string) {
			s, err := n.Consensus(ctx)
			if err != nil {
				return false, err.Error()
			}
			clear(replicas)
			for _, m := range s.Config.Members {
				if m.Role == "voter" {
					replicas[int(m.Broker)] = m.Replica
				}
			}
			for _, b := range brokers {
				if replicas[b] == 0 {
					return false, members(s)
				}
			}
			return len(s.Config.Members) == len(brokers), members(s)
		}))
	}
	return replicas
}

func members(s admin.ConsensusStatus) string {
	var out []string
	for _, m := range s.Config.Members {
		out = append(out, fmt.Sprintf("%s %d of node %d", m.Role, m.Replica, m.Broker))
	}
	return strings.Join(out, ", ") + " " + s.Error
}

// loseDisk kills a node and removes everything that it has stored.
func loseDisk(t *testing.T, n *lab.Node) {
	t.Helper()
	if n.Running() {
		must(t, n.Kill())
	}
	must(t, os.RemoveAll(n.DataDir()))
}

// Nodes are replaced, one after the other, under load, and nothing that was
// acknowledged is lost, doubled or out of order: in the end no disk is left of those
// that the cluster began with.
func TestReplaceEveryNode(t *testing.T) {
	seed := *replaceSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		t.Logf("replay with -replace-seed %d", seed)
		order := rand.New(rand.NewPCG(seed, 1)).Perm(3)
		underLoad(t, c, func(t *testing.T, w *lab.Workload) {
			ctx := within(t, 2*time.Minute)
			before := awaitMembers(ctx, t, c.Nodes(), 1, 2, 3)
			for _, i := range order {
				n := c.Nodes()[i]
				loseDisk(t, n)
				must(t, w.AwaitProgress(ctx, 100))
				must(t, n.Rejoin(c.Node(n.ID%3+1), c.Node((n.ID+1)%3+1)))
				must(t, n.Start())
				must(t, n.AwaitReady(ctx))
				must(t, n.AwaitTopic(ctx, faultTopic, 3))
				now := awaitMembers(ctx, t, c.Nodes(), 1, 2, 3)
				if now[n.ID] <= before[n.ID] {
					t.Errorf("node %d came back with replica %d after %d", n.ID, now[n.ID], before[n.ID])
				}
				must(t, w.AwaitProgress(ctx, 100))
			}
		})
		// What they have is on disk: no config file is touched, and all come back.
		ctx := within(t, time.Minute)
		for _, n := range c.Nodes() {
			must(t, n.Kill())
		}
		must(t, c.Start(ctx))
		awaitMembers(ctx, t, c.Nodes(), 1, 2, 3)
	})
}

// Three nodes are replaced by three others, under ids of their own, under load: the
// new one joins, the replicas move, and the old one is removed and forgotten.
func TestReplaceByNewBrokers(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, 3*time.Minute)
		must(t, c.CreateTopic(ctx, c.Node(1), faultTopic, faultPartitions, 3, nil))
		w, err := lab.StartWorkload(ctx, c.Bootstrap(), faultTopic, faultPartitions, faultRate, 1)
		must(t, err)
		group, err := lab.StartConsumers(ctx, c.Bootstrap(), "movers", faultTopic, 2)
		must(t, err)
		must(t, w.AwaitProgress(ctx, 100))
		must(t, group.AwaitProgress(ctx, 100))
		for old := 1; old <= 3; old++ {
			replaceByNewBroker(ctx, t, c, old, old+3)
			must(t, w.AwaitProgress(ctx, 100))
			must(t, group.AwaitProgress(ctx, 100))
		}
		must(t, w.Stop(ctx))
		must(t, group.Await(ctx, c.Bootstrap()...))
		must(t, group.Stop())
		for _, n := range c.Nodes() {
			must(t, w.Verify(ctx, n.Client))
		}
		must(t, group.Verify(ctx, c.Bootstrap()...))
		t.Logf("%d records acknowledged, longest gap %v", w.Acked(), w.LongestGap())
	})
}

func replaceByNewBroker(ctx context.Context, t *testing.T, c *lab.Cluster, old, id int) {
	t.Helper()
	n, err := c.Add(id, c.Nodes()[len(c.Nodes())-1])
	must(t, err)
	must(t, n.Start())
	must(t, n.AwaitReady(ctx))
	run := func(want string, args ...string) {
		t.Helper()
		out, errs, err := c.Run(ctx, args...)
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("quorate %s: %v\n%s%s, want %q", strings.Join(args, " "), err, out, errs, want)
		}
	}
	bootstrap := strings.Join(c.Bootstrap(), ",")
	run(fmt.Sprintf("of broker %d moved to broker %d", old, id),
		"topic", "reassign", "-b", bootstrap, "--from", fmt.Sprint(old), "--to", fmt.Sprint(id), "--wait", "--timeout", "1m")
	replicas := awaitMembers(ctx, t, []*lab.Node{n}, runningIDs(c)...)
	gone := c.Node(old)
	must(t, gone.Stop(ctx))
	must(t, c.Forget(old))
	run("removed", "consensus", "remove", fmt.Sprint(replicas[old]))
	run(fmt.Sprintf("broker %d is forgotten", old), "broker", "unregister", "-b", strings.Join(c.Bootstrap(), ","), fmt.Sprint(old))
	awaitMembers(ctx, t, c.Nodes(), runningIDs(c)...)
}

func runningIDs(c *lab.Cluster) []int {
	var out []int
	for _, n := range c.Nodes() {
		if n.Running() {
			out = append(out, n.ID)
		}
	}
	return out
}

// A new node joins, knowing one of the others, and being known to none of them; it
// gets a vote, takes partitions, and leads when the others are gone.
func TestJoin(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		ctx := within(t, 2*time.Minute)
		must(t, c.CreateTopic(ctx, c.Node(1), "before", 4, 3, nil))
		n, err := c.Add(4, c.Node(2))
		must(t, err)
		must(t, n.Start())
		must(t, n.AwaitReady(ctx))
		replicas := awaitMembers(ctx, t, c.Nodes(), 1, 2, 3, 4)
		if replicas[4] < 4 {
			t.Errorf("it is replica %d, and there were three", replicas[4])
		}
		must(t, c.CreateTopic(ctx, n, "after", 4, 4, nil))
		w, err := lab.StartWorkload(ctx, c.Bootstrap(), "after", 4, faultRate, 1)
		must(t, err)
		must(t, w.AwaitProgress(ctx, 100))

		// It comes back with what it has, and with the same config file.
		must(t, n.Kill())
		must(t, w.AwaitProgress(ctx, 100))
		must(t, n.Start())
		must(t, n.AwaitReady(ctx))
		must(t, n.AwaitTopic(ctx, "after", 4))
		if again := awaitMembers(ctx, t, c.Nodes(), 1, 2, 3, 4); again[4] != replicas[4] {
			t.Errorf("it came back as replica %d, it was %d", again[4], replicas[4])
		}

		// Its vote counts: with three of four left, there is a majority with it only.
		must(t, c.Node(1).Kill())
		must(t, w.AwaitProgress(ctx, 200))
		must(t, w.Stop(ctx))
		must(t, w.Verify(ctx, n.Client))
	})
}

// A node that lost its disk must not come back as it was; it comes back with a new
// replica when it is told to, and its old disk does not, should it be found again.
func TestLostDisk(t *testing.T) {
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		underLoad(t, c, func(t *testing.T, w *lab.Workload) {
			ctx := within(t, 2*time.Minute)
			n := c.Node(2)
			must(t, n.Kill())
			old := n.DataDir() + ".old"
			must(t, os.Rename(n.DataDir(), old))

			must(t, n.Start())
			wantRefusal(ctx, t, n, "set cluster/join: true to bring the node back with a new replica")
			must(t, os.RemoveAll(n.DataDir()))
			must(t, n.Rejoin(c.Node(1)))
			must(t, n.Start())
			must(t, n.AwaitReady(ctx))
			must(t, n.AwaitTopic(ctx, faultTopic, 3))
			awaitMembers(ctx, t, c.Nodes(), 1, 2, 3)
			must(t, w.AwaitProgress(ctx, 100))

			// The log in its data directory is what makes it the replica that it is.
			must(t, n.Stop(ctx))
			must(t, os.Rename(n.DataDir(), n.DataDir()+".new"))
			must(t, os.Rename(old, n.DataDir()))
			must(t, n.Start())
			wantRefusal(ctx, t, n, "cluster/join is true: set it to false")
			must(t, n.Rejoin())
			must(t, n.Start())
			wantRefusal(ctx, t, n, "replica of the metadata log was removed from the cluster")
			must(t, os.RemoveAll(n.DataDir()))
			must(t, os.Rename(n.DataDir()+".new", n.DataDir()))
			must(t, n.Start())
			must(t, n.AwaitReady(ctx))
		})
	})
}

// wantRefusal waits for the node's end and looks for a sentence in its log.
func wantRefusal(ctx context.Context, t *testing.T, n *lab.Node, sentence string) {
	t.Helper()
	code, err := n.AwaitEnd(ctx)
	must(t, err)
	log, err := n.Log()
	must(t, err)
	if code != 78 || !strings.Contains(log, sentence) {
		t.Fatalf("node %d: exit code %d, want 78 and %q", n.ID, code, sentence)
	}
}
