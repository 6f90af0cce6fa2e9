//go:build integration

package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/quorate/quorate/test/lab"
)

// A node joins when the beginning of the metadata log is gone, over TLS: it begins
// with a snapshot that another plugin sends, becomes a voter, takes partitions, and
// comes back with what it has, as it was.
func TestJoinBySnapshotOverTLS(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := start(t, lab.Options{Backend: backend, Nodes: 3, ClusterTLS: true, SnapshotEntries: 40, RetainEntries: 10})
			ctx := within(t, 3*time.Minute)
			must(t, c.CreateTopic(ctx, c.Node(1), "before", 4, 3, nil))
			compact(ctx, t, c, "before")

			n, err := c.Add(4, c.Node(2))
			must(t, err)
			must(t, n.Start())
			must(t, n.AwaitReady(ctx))
			replicas := awaitMembers(ctx, t, c.Nodes(), 1, 2, 3, 4)
			s, err := n.Consensus(ctx)
			must(t, err)
			if s.Replica.FirstIndex <= 1 || s.Replica.SnapshotIndex == 0 {
				t.Errorf("it has the log from entry %d on, and a snapshot at %d: it did not join by a snapshot", s.Replica.FirstIndex, s.Replica.SnapshotIndex)
			}
			must(t, n.AwaitTopic(ctx, "before", 3))
			must(t, c.CreateTopic(ctx, n, "after", 4, 4, nil))

			must(t, n.Kill())
			must(t, n.Start())
			must(t, n.AwaitReady(ctx))
			must(t, n.AwaitTopic(ctx, "after", 4))
			if again := awaitMembers(ctx, t, c.Nodes(), 1, 2, 3, 4); again[4] != replicas[4] {
				t.Errorf("it came back as replica %d, it was %d", again[4], replicas[4])
			}
			for what, address := range map[string]string{"broker": n.Broker, "plugin": n.Raft} {
				cert, err := c.Certificates().Shown(address, "node-1")
				must(t, err)
				if cert.Subject.CommonName != "node-4" {
					t.Errorf("its %s shows the certificate of %q", what, cert.Subject.CommonName)
				}
			}
		})
	}
}

// compact changes a topic's settings until no node has the beginning of the metadata
// log any more.
func compact(ctx context.Context, t *testing.T, c *lab.Cluster, topic string) {
	t.Helper()
	client, err := lab.Client(c.Bootstrap()...)
	must(t, err)
	defer client.Close()
	adm := kadm.NewClient(client)
	for n := 0; ; n++ {
		_, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: new(fmt.Sprint(86_400_000 + n))}}, topic)
		must(t, err)
		if n < 40 || n%20 != 0 {
			continue
		}
		all := true
		for _, node := range c.Nodes() {
			s, err := node.Consensus(ctx)
			must(t, err)
			all = all && s.Replica.FirstIndex > 1
		}
		if all {
			return
		}
	}
}
