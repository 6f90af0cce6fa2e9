//go:build integration

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/test/lab"
)

// Two of three nodes are lost with their disks, for ever. The third one is recovered:
// clients find their topics, records and positions there, and what was only on the
// lost nodes is said to be gone. A lost node that comes back nevertheless is refused.
func TestRecoverFromLostMajority(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := start(t, lab.Options{Backend: backend, Nodes: 3, Kafka: map[string]any{"min.insync.replicas": 1}})
			ctx := within(t, 3*time.Minute)
			must(t, c.CreateTopic(ctx, c.Node(1), "moved", 3, 3, map[string]*string{"retention.ms": new("86400000")}))
			must(t, c.CreateTopic(ctx, c.Node(1), "elsewhere", 6, 1, nil))
			w, err := lab.StartWorkload(ctx, c.Bootstrap(), "moved", 3, 500, 1)
			must(t, err)
			must(t, w.AwaitProgress(ctx, 300))
			must(t, w.Stop(ctx))
			consumeGroup(ctx, t, c, "moved", "movers", 100)
			must(t, c.Node(3).AwaitTopic(ctx, "moved", 3))
			must(t, c.Node(3).AwaitTopic(ctx, "__consumer_offsets", 3))
			before := whatClientsSee(ctx, t, c.Bootstrap()...)
			absent := ledByOthers(ctx, t, c.Node(3), "elsewhere")
			if len(absent) == 0 {
				t.Fatal("no partition is on the lost nodes alone")
			}

			for _, n := range c.Nodes() {
				must(t, n.Kill())
			}
			must(t, os.Rename(c.Node(1).DataDir(), filepath.Join(c.Dir, "node-1-as-it-was")))
			must(t, os.RemoveAll(c.Node(2).DataDir()))
			survivor := c.Node(3)
			refusesToGuess(ctx, t, survivor)
			looksAtOthers(ctx, t, c, survivor)
			recovered := recoverNode(ctx, t, survivor, "yes\nlab\n")
			for _, want := range append(absent, "What may be lost", "Taken from node 3", "lost (1,2)", "recovered: cluster lab") {
				if !strings.Contains(recovered, want) {
					t.Errorf("recover does not tell of %q:\n%s", want, recovered)
				}
			}
			must(t, survivor.Start())
			must(t, survivor.AwaitReady(ctx))
			must(t, survivor.AwaitTopic(ctx, "moved", 1))
			must(t, survivor.AwaitTopic(ctx, "__consumer_offsets", 1))
			if after := whatClientsSee(ctx, t, survivor.Client); !maps.Equal(after, before) {
				t.Errorf("clients see %v, before %v", after, before)
			}
			must(t, w.Verify(ctx, survivor.Client))
			if got := ledByOthers(ctx, t, survivor, "elsewhere"); !slices.Equal(got, absent) {
				t.Errorf("partitions without a leader: %v, want %v", got, absent)
			}
			client, err := lab.Client(survivor.Client)
			must(t, err)
			defer client.Close()
			must(t, client.ProduceSync(ctx, &kgo.Record{Topic: "moved", Value: []byte("999999")}).FirstErr())

			must(t, os.Rename(filepath.Join(c.Dir, "node-1-as-it-was"), c.Node(1).DataDir()))
			staysOut(ctx, t, c, c.Node(1), survivor)
		})
	}
}

// ledByOthers returns the partitions of a topic that the node does not lead.
func ledByOthers(ctx context.Context, t *testing.T, n *lab.Node, topic string) []string {
	t.Helper()
	client, err := lab.Client(n.Client)
	must(t, err)
	defer client.Close()
	meta, err := kadm.NewClient(client).Metadata(ctx, topic)
	must(t, err)
	var out []string
	for _, p := range meta.Topics[topic].Partitions.Sorted() {
		if p.Leader != int32(n.ID) {
			out = append(out, fmt.Sprintf("%s-%d", topic, p.Partition))
		}
	}
	return out
}

// runRecover runs `quorate consensus recover` for a node.
func runRecover(ctx context.Context, n *lab.Node, answers string, args ...string) (stdout, stderr string, code int, err error) {
	cmd := exec.CommandContext(ctx, binary, append([]string{"consensus", "recover", "--config", n.ConfigFile()}, args...)...)
	cmd.Dir = n.Dir
	cmd.Stdin = strings.NewReader(answers)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = cmd.Run(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			return "", "", 0, err
		}
		code = exit.ExitCode()
	}
	return out.String(), errs.String(), code, nil
}

// refusesToGuess checks that nothing happens without two right answers.
func refusesToGuess(ctx context.Context, t *testing.T, n *lab.Node) {
	t.Helper()
	stamp, err := os.ReadFile(filepath.Join(n.DataDir(), "meta.properties"))
	must(t, err)
	for _, tt := range []struct {
		name, answers string
		args          []string
		code          int
		want          string
	}{
		{"dry run", "", []string{"--dry-run"}, 0, ""},
		{"nobody answers", "", nil, 2, "this command asks on a terminal"},
		{"one answer only", "yes\n", nil, 2, "this command asks on a terminal"},
		{"no", "no\nlab\n", nil, 1, `nothing was changed: the answer was "no"`},
		{"another cluster", "yes\nprod\n", nil, 1, `nothing was changed: the answer was "prod"`},
		{"half a yes", "", []string{"--yes"}, 2, "go together"},
	} {
		_, errs, code, err := runRecover(ctx, n, tt.answers, tt.args...)
		must(t, err)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: exit code %d, want %d; %s", tt.name, code, tt.code, errs)
		}
	}
	after, err := os.ReadFile(filepath.Join(n.DataDir(), "meta.properties"))
	must(t, err)
	logs, err := os.ReadDir(filepath.Join(n.DataDir(), "consensus"))
	must(t, err)
	if !bytes.Equal(after, stamp) || len(logs) != 1 {
		t.Errorf("something was changed: %s\n%v", after, logs)
	}
}

// looksAtOthers has the command compare survivors, without changing any.
func looksAtOthers(ctx context.Context, t *testing.T, c *lab.Cluster, n *lab.Node) {
	t.Helper()
	other := filepath.Join(c.Dir, "node-1-as-it-was")
	out, errs, code, err := runRecover(ctx, n, "", "--dry-run", "--survivor", other)
	must(t, err)
	if code != 0 || !strings.Contains(out, other) || !strings.Contains(out, n.DataDir()) || !strings.Contains(out, "lost (2)") {
		t.Errorf("with another survivor: exit code %d\n%s%s", code, out, errs)
	}
	for dir, want := range map[string]string{
		n.DataDir(): "is of node 3 itself",
		c.Dir:       "is no node's data directory",
	} {
		if _, errs, code, err := runRecover(ctx, n, "", "--dry-run", "--survivor", dir); err != nil || code != 78 || !strings.Contains(errs, want) {
			t.Errorf("survivor %s: exit code %d, %v, %s", dir, code, err, errs)
		}
	}
}

func recoverNode(ctx context.Context, t *testing.T, n *lab.Node, answers string) string {
	t.Helper()
	out, errs, code, err := runRecover(ctx, n, answers)
	must(t, err)
	if code != 0 {
		t.Fatalf("recover: exit code %d\n%s%s", code, out, errs)
	}
	t.Log("\n" + out)
	return out
}

// staysOut starts a node of the time before the recovery. The survivor must hear of
// it, refuse it, and go on as if it was not there.
func staysOut(ctx context.Context, t *testing.T, c *lab.Cluster, old, survivor *lab.Node) {
	t.Helper()
	before, err := survivor.Consensus(ctx)
	must(t, err)
	must(t, old.Start())
	must(t, lab.Await(ctx, "the survivor to refuse a node of before the recovery", func(context.Context) (bool, string) {
		log, err := survivor.Log()
		return err == nil && strings.Contains(log, "refused"), "no refusal"
	}))
	after, err := survivor.Consensus(ctx)
	must(t, err)
	if len(after.Config.Members) != 1 || after.Replica.Term != before.Replica.Term || after.Replica.Role != "leader-ready" {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if ok, _ := old.Ready(ctx); ok {
		t.Error("a node of before the recovery serves")
	}
}
