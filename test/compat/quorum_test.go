//go:build integration

package compat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/quorate/quorate/test/lab"
)

// metadataQuorum is what kafka-metadata-quorum.sh runs.
const metadataQuorum = "org.apache.kafka.tools.MetadataQuorumCommand"

// Kafka's own tool looks at the replicas of the metadata log, whatever backend keeps
// it, makes a learner a voter, and removes one.
func TestMetadataQuorumTool(t *testing.T) {
	need(t, "java", "install it with: apt-get install default-jre-headless")
	jars := javaClient(t)
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c, err := startCluster(t.TempDir(), backend)
			must(t, err)
			defer func() {
				if t.Failed() {
					t.Log(c.Logs(40))
				}
				must(t, c.Close())
			}()
			ctx := within(t, 3*time.Minute)
			tool := func(args ...string) string {
				t.Helper()
				out, err := command(ctx, nil, "java", append([]string{"-Xmx256m", "-cp", jars, metadataQuorum, "--bootstrap-server", c.Node(2).Client}, args...)...)
				must(t, err)
				all := strings.Join(out, "\n")
				t.Log("\n" + all)
				return all
			}
			leader, err := c.Controller(ctx, c.Node(1))
			must(t, err)
			const other = 3
			if leader == other {
				_, errs, err := c.Run(ctx, "consensus", "transfer-leader", "--to", "1")
				if err != nil {
					t.Fatal(errs)
				}
				must(t, lab.Await(ctx, "another leader", func(ctx context.Context) (bool, string) {
					leader, err = c.Controller(ctx, c.Node(1))
					return err == nil && leader == 1, fmt.Sprint(leader, err)
				}))
			}

			status := strings.Join(strings.Fields(tool("describe", "--status")), " ")
			for _, want := range []string{"ClusterId: lab ", fmt.Sprintf("LeaderId: %d ", leader), "MaxFollowerLag: ", `"id": 1`, `"id": 2`, `"id": 3`, c.Node(2).Raft[strings.LastIndex(c.Node(2).Raft, ":")+1:]} {
				if !strings.Contains(status, want) {
					t.Errorf("describe --status has no %q", want)
				}
			}
			if got := roles(tool("describe", "--replication")); got["Leader"] != 1 || got["Follower"] != 2 {
				t.Errorf("describe --replication shows %v", got)
			}

			_, errs, err := c.Run(ctx, "consensus", "demote", fmt.Sprint(other))
			if err != nil {
				t.Fatal(errs)
			}
			if got := roles(tool("describe", "--replication")); got["Leader"] != 1 || got["Follower"] != 1 || got["Observer"] != 1 {
				t.Errorf("with a learner, describe --replication shows %v", got)
			}
			config := controllerConfig(t, c.Node(other))
			tool("--command-config", config, "add-controller")
			if got := roles(tool("describe", "--replication")); got["Follower"] != 2 {
				t.Errorf("after add-controller, describe --replication shows %v", got)
			}
			for version := range int16(2) {
				if err := addVoter(ctx, t, c, c.Node(other), version); !errors.Is(err, kerr.DuplicateVoter) {
					t.Errorf("AddRaftVoter v%d of a voter: got %v", version, err)
				}
			}

			tool("remove-controller", "--controller-id", fmt.Sprint(other), "--controller-directory-id", directoryID(t, c.Node(other)))
			must(t, lab.Await(ctx, "two voters", func(ctx context.Context) (bool, string) {
				s, err := c.Node(leader).Consensus(ctx)
				return err == nil && len(s.Config.Members) == 2, fmt.Sprintf("%+v %v", s.Config, err)
			}))
			if got := roles(tool("describe", "--replication")); got["Leader"] != 1 || got["Follower"] != 1 || got["Observer"] != 0 {
				t.Errorf("after remove-controller, describe --replication shows %v", got)
			}
		})
	}
}

// roles counts the last column of describe --replication.
func roles(table string) map[string]int {
	out := map[string]int{}
	for _, line := range strings.Split(table, "\n")[1:] {
		if f := strings.Fields(line); len(f) > 0 {
			out[f[len(f)-1]]++
		}
	}
	return out
}

// controllerConfig is a Kafka controller's config file for a node, as add-controller
// wants one. The directory id is in the node's own meta.properties.
func controllerConfig(t *testing.T, n *lab.Node) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "controller.properties")
	must(t, os.WriteFile(file, fmt.Appendf(nil,
		"node.id=%d\nprocess.roles=controller\ncontroller.listener.names=CONSENSUS\nlisteners=CONSENSUS://%s\nmetadata.log.dir=%s\n",
		n.ID, n.Raft, n.DataDir()), 0o600))
	return file
}

func directoryID(t *testing.T, n *lab.Node) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(n.DataDir(), "meta.properties"))
	must(t, err)
	for line := range strings.Lines(string(content)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "directory.id="); ok {
			return id
		}
	}
	t.Fatalf("no directory.id in\n%s", content)
	return ""
}

// addVoter sends AddRaftVoter in one version.
func addVoter(ctx context.Context, t *testing.T, c *lab.Cluster, n *lab.Node, version int16) error {
	t.Helper()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.AddRaftVoter), version)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...), kgo.MaxVersions(versions))
	must(t, err)
	defer client.Close()
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.VoterID, req.TimeoutMillis, req.AckWhenCommitted = int32(n.ID), 10_000, true
	host, port, _ := strings.Cut(n.Raft, ":")
	l := kmsg.NewAddRaftVoterRequestListener()
	l.Name, l.Host = "CONSENSUS", host
	_, err = fmt.Sscan(port, &l.Port)
	must(t, err)
	req.Listeners = append(req.Listeners, l)
	resp, err := req.RequestWith(ctx, client)
	must(t, err)
	if resp.Version != version {
		t.Errorf("AddRaftVoter was sent in version %d, want %d", resp.Version, version)
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}
