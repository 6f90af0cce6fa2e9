//go:build integration

package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

var (
	chaosTime = flag.Duration("chaos", 20*time.Second, "how long TestChaos mistreats each backend")
	chaosSeed = flag.Uint64("seed", 0, "the schedule of TestChaos; 0 draws one")
)

const (
	chaosTopic      = "chaos"
	chaosPartitions = 6
)

// TestChaos mistreats three nodes by a schedule that a seed decides, under
// producers and consumers, mends everything and wants every promise kept.
func TestChaos(t *testing.T) {
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) { chaos(t, backend) })
	}
}

func chaos(t *testing.T, backend string) {
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	var told story
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with -chaos %v -seed %d; what was done:\n%v", *chaosTime, seed, told)
		}
	})
	c := start(t, lab.Options{Backend: backend, Nodes: 3, Proxies: true})
	ctx := within(t, *chaosTime+5*time.Minute)
	must(t, c.CreateTopic(ctx, c.Node(1), chaosTopic, chaosPartitions, 3, nil))
	w, err := lab.StartWorkload(ctx, c.Bootstrap(), chaosTopic, chaosPartitions, 300, 3)
	must(t, err)
	group, err := lab.StartConsumers(ctx, c.Bootstrap(), "chaos-group", chaosTopic, 2)
	must(t, err)

	s := newSchedule(c, seed)
	for begun := time.Now(); time.Since(begun) < *chaosTime; {
		st := s.next()
		told.tell(time.Now(), st)
		must(t, st.run(ctx))
		must(t, allAlive(c))
	}
	told.tell(time.Now(), "all is mended")
	verifyChaos(t, c, w, group)
	for _, o := range w.Outages() {
		told.tell(o.From, fmt.Sprintf("    outage of partition %d for %v", o.Partition, o.For.Round(time.Millisecond)))
	}
	t.Logf("seed %d, %d records acknowledged, longest gap %v\n%v", seed, w.Acked(), w.LongestGap(), told)
}

// story is what was done to a cluster, and what became of it.
type story []string

func (s *story) tell(at time.Time, what any) {
	*s = append(*s, fmt.Sprintf("%s %v", at.UTC().Format("15:04:05.000"), what))
}

// String returns the story by time.
func (s story) String() string { return strings.Join(slices.Sorted(slices.Values(s)), "\n") }

// run breaks, waits, mends and rests.
func (s step) run(ctx context.Context) error {
	var mends []func(context.Context) error
	for _, f := range s.faults {
		mend, err := f.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if mend != nil {
			mends = append(mends, mend)
		}
	}
	pause(ctx, s.hold)
	var errs []error
	for _, mend := range mends {
		errs = append(errs, mend(ctx))
	}
	pause(ctx, s.rest)
	return errors.Join(errs...)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// allAlive wants every process that is to be there.
func allAlive(c *lab.Cluster) error {
	for _, n := range c.Nodes() {
		if !n.Running() {
			return fmt.Errorf("node %d has ended by itself", n.ID)
		}
	}
	return nil
}

// verifyChaos wants the cluster whole again and every promise kept.
func verifyChaos(t *testing.T, c *lab.Cluster, w *lab.Workload, group *lab.Consumers) {
	t.Helper()
	ctx := within(t, 2*time.Minute)
	for _, n := range c.Nodes() {
		must(t, n.AwaitReady(ctx))
		must(t, n.AwaitTopic(ctx, chaosTopic, 3))
	}
	must(t, w.AwaitProgress(ctx, 300))
	must(t, w.Stop(ctx))
	groupErr := group.Await(ctx, c.Bootstrap()...)
	must(t, errors.Join(groupErr, group.Stop()))
	for _, n := range c.Nodes() {
		must(t, n.AwaitTopic(ctx, chaosTopic, 3))
		must(t, n.AwaitTopic(ctx, "__consumer_offsets", 3))
		must(t, w.Verify(ctx, n.Client))
		must(t, group.Verify(ctx, n.Client))
	}
	must(t, replicasAgree(ctx, c, chaosTopic))
	must(t, replicasAgree(ctx, c, "__consumer_offsets"))
	must(t, allAlive(c))
	must(t, pluginsAre(ctx, c, 3))
	must(t, c.Close())
	must(t, pluginsAre(ctx, c, 0))
}

func pluginsAre(ctx context.Context, c *lab.Cluster, want int) error {
	return lab.Await(ctx, fmt.Sprintf("%d plugin processes", want), func(context.Context) (bool, string) {
		pids, err := c.Plugins()
		return err == nil && len(pids) == want, fmt.Sprint(pids, err)
	})
}

// replicasAgree waits until every replica of a topic has the same batches on
// disk: nothing is produced any more, so followers catch up.
func replicasAgree(ctx context.Context, c *lab.Cluster, topic string) error {
	return lab.Await(ctx, "equal logs of "+topic, func(ctx context.Context) (bool, string) {
		var first map[string][]string
		for _, n := range c.Nodes() {
			logs, err := batches(ctx, n, topic)
			if err != nil {
				return false, err.Error()
			}
			if first == nil {
				first = logs
			}
			if !maps.EqualFunc(first, logs, slices.Equal) {
				return false, difference(n, first, logs)
			}
		}
		return len(first) > 0, "no partitions"
	})
}

func difference(n *lab.Node, first, logs map[string][]string) string {
	for name, a := range first {
		b := logs[name]
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				return fmt.Sprintf("%s: %d batches on node 1, %d on node %d; from the first that differs:\n%v\n%v", name, len(a), len(b), n.ID, a[i:min(i+3, len(a))], b[i:min(i+3, len(b))])
			}
		}
	}
	return "other partitions"
}

var batchLine = regexp.MustCompile(`(?m)^(baseOffset: \d+ lastOffset: \d+).*( partitionLeaderEpoch: \d+).*( crc: \d+)`)

// batches are the batches of each of a node's partitions: offsets, epoch, CRC.
func batches(ctx context.Context, n *lab.Node, topic string) (map[string][]string, error) {
	dirs, err := filepath.Glob(filepath.Join(n.DataDir(), topic+"-*"))
	if err != nil {
		return nil, err
	}
	logs := map[string][]string{}
	for _, dir := range dirs {
		out, err := exec.CommandContext(ctx, binary, "log", "dump", dir).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("log dump: %w: %s", err, out)
		}
		var lines []string
		for _, m := range batchLine.FindAllStringSubmatch(string(out), -1) {
			lines = append(lines, m[1]+m[2]+m[3])
		}
		logs[filepath.Base(dir)] = lines
	}
	return logs, nil
}
