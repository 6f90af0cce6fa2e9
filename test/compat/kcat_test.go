//go:build integration

package compat

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/test/lab"
)

const installKcat = "install it with: apt-get install kcat"

func TestKcat(t *testing.T) {
	need(t, "kcat", installKcat)
	forEachBackend(t, func(t *testing.T, c *lab.Cluster) {
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			t.Run("produce and consume "+codec, func(t *testing.T) { kcatRoundTrip(t, c, codec) })
		}
		t.Run("group with a rebalance", func(t *testing.T) { kcatGroup(t, c) })
	})
}

func kcatRoundTrip(t *testing.T, c *lab.Cluster, codec string) {
	ctx := within(t, time.Minute)
	topic, want := "kcat-"+codec, numbered("kcat", 500)
	must(t, c.CreateTopic(ctx, c.Node(1), topic, 4, 3, nil))
	_, err := command(ctx, want, "kcat", "-P", "-b", c.Node(1).Client, "-t", topic, "-z", codec, "-X", "acks=all", "-X", "enable.idempotence=true")
	must(t, err)
	for _, n := range c.Nodes() {
		got, err := command(ctx, nil, "kcat", "-C", "-q", "-e", "-b", n.Client, "-t", topic, "-o", "beginning")
		must(t, err)
		same(t, got, want)
	}
}

// kcatMember is one member of a group: a kcat -G.
type kcatMember struct {
	cmd *exec.Cmd

	mu   sync.Mutex
	got  []string // records
	logs []string // what it tells of rebalances
}

func startMember(ctx context.Context, t *testing.T, bootstrap, groupID, topic string) *kcatMember {
	t.Helper()
	m := &kcatMember{cmd: exec.CommandContext(ctx, "kcat", "-b", bootstrap, "-u",
		"-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=500",
		"-G", groupID, topic)}
	stdout, err := m.cmd.StdoutPipe()
	must(t, err)
	stderr, err := m.cmd.StderrPipe()
	must(t, err)
	must(t, m.cmd.Start())
	var read sync.WaitGroup
	read.Go(func() { m.read(bufio.NewScanner(stdout), &m.got) })
	read.Go(func() { m.read(bufio.NewScanner(stderr), &m.logs) })
	t.Cleanup(func() {
		m.cmd.Process.Kill()
		read.Wait()
		m.cmd.Wait()
	})
	return m
}

func (m *kcatMember) read(s *bufio.Scanner, into *[]string) {
	for s.Scan() {
		m.mu.Lock()
		*into = append(*into, s.Text())
		m.mu.Unlock()
	}
}

func (m *kcatMember) snapshot() (got []string, logs string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.got...), strings.Join(m.logs, "\n")
}

func kcatGroup(t *testing.T, c *lab.Cluster) {
	ctx := within(t, 2*time.Minute)
	const topic, groupID = "kcat-group", "kcat-pair"
	must(t, c.CreateTopic(ctx, c.Node(1), topic, 4, 3, nil))
	want := numbered("first", 100)
	_, err := command(ctx, want, "kcat", "-P", "-b", c.Node(2).Client, "-t", topic)
	must(t, err)

	one := startMember(ctx, t, c.Node(1).Client, groupID, topic)
	awaitRecords(ctx, t, len(want), one)
	two := startMember(ctx, t, c.Node(2).Client, groupID, topic)
	must(t, lab.Await(ctx, "both members to be assigned", func(context.Context) (bool, string) {
		_, log1 := one.snapshot()
		_, log2 := two.snapshot()
		return strings.Count(log1, "assigned") >= 2 && strings.Contains(log2, "assigned"), log1 + "\n" + log2
	}))
	more := numbered("second", 200)
	_, err = command(ctx, more, "kcat", "-P", "-b", c.Node(3).Client, "-t", topic, "-X", "sticky.partitioning.linger.ms=0", "-X", "linger.ms=0")
	must(t, err)
	want = append(want, more...)
	awaitRecords(ctx, t, len(want), one, two)
	got1, _ := one.snapshot()
	got2, _ := two.snapshot()
	if len(got2) == 0 {
		t.Error("the second member got no record")
	}
	same(t, append(got1, got2...), want)
}

func awaitRecords(ctx context.Context, t *testing.T, count int, members ...*kcatMember) {
	t.Helper()
	must(t, lab.Await(ctx, fmt.Sprintf("%d records", count), func(context.Context) (bool, string) {
		n, logs := 0, ""
		for _, m := range members {
			got, log := m.snapshot()
			n += len(got)
			logs += "\n" + log
		}
		return n >= count, fmt.Sprintf("%d%s", n, logs)
	}))
}
