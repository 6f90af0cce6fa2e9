package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quorate/quorate/test/lab"
)

// runner runs loads against servers that live for one run each.
type runner struct {
	binary, backend, scratch string
	temporary                bool // scratch is ours to remove
	full                     bool
	modes                    []string // of wal.sync that the binary knows; "" if it does not have the setting
	kafka                    string   // class path of Apache Kafka's broker; empty: there is none
	log                      io.Writer
	count                    int // of directories

	noBallast bool
	ballasts  int    // files that were made to fill the page cache
	profiles  string // directory; empty: none are taken
	profiled  int
	row       string // that is measured
}

func (r *runner) close() {
	if r.temporary {
		os.RemoveAll(r.scratch)
	}
}

// choose is what differs between the two forms.
func choose[T any](r *runner, quick, full T) T {
	if r.full {
		return full
	}
	return quick
}

// seconds is how long a load is measured.
func (r *runner) seconds() time.Duration { return choose(r, 3*time.Second, 8*time.Second) }

// warmup is how long a load runs before it is measured.
func (r *runner) warmup() time.Duration { return choose(r, time.Second, 3*time.Second) }

// rounds is how often everything that is compared has its turn.
func (r *runner) rounds() int { return choose(r, 2, 4) }

// directory makes one for a run.
func (r *runner) directory() (string, error) {
	r.count++
	dir := filepath.Join(r.scratch, strconv.Itoa(r.count))
	return dir, os.MkdirAll(dir, 0o755)
}

// settings are the kafka section of a node with this wal.sync.
func settings(mode string) map[string]any {
	s := map[string]any{"offsets.topic.num.partitions": 1}
	if mode != "" {
		s["wal.sync"] = mode
	}
	return s
}

// accepts says whether the binary knows a value of wal.sync.
func (r *runner) accepts(ctx context.Context, mode string) bool {
	c, err := r.cluster(1, settings(mode))
	if err != nil {
		return false
	}
	defer r.discard(c)
	return exec.CommandContext(ctx, r.binary, "config", "validate", c.Node(1).ConfigFile()).Run() == nil
}

// cluster makes nodes that are not started.
func (r *runner) cluster(nodes int, kafka map[string]any) (*lab.Cluster, error) {
	dir, err := r.directory()
	if err != nil {
		return nil, err
	}
	return lab.New(lab.Options{Binary: r.binary, Dir: dir, Backend: r.backend, Nodes: nodes, Kafka: kafka})
}

// discard ends a cluster and removes its data.
func (r *runner) discard(c *lab.Cluster) {
	if err := c.Close(); err != nil {
		fmt.Fprintln(r.log, "end of a cluster:", err)
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		fmt.Fprintln(r.log, "end of a cluster:", err)
	}
}

// server is something to load.
type server struct {
	bootstrap []string
	pids      []int
	cluster   *lab.Cluster // nil for a sink
	stop      func()
}

// nullSink is the variant that is not a broker.
const nullSink = "sink"

// start starts a sink, or a cluster with a mode of wal.sync.
func (r *runner) start(ctx context.Context, variant string, nodes int) (*server, error) {
	if err := r.fillMemory(); err != nil {
		return nil, err
	}
	switch variant {
	case nullSink:
		return r.sink(ctx)
	case kafkaOS, kafkaAlways:
		return r.startKafka(ctx, variant, nodes)
	}
	kafka := settings(variant)
	if nodes > 1 {
		maps.Copy(kafka, map[string]any{"default.replication.factor": nodes, "min.insync.replicas": 2})
	}
	c, err := r.cluster(nodes, kafka)
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.Start(starting); err != nil {
		fmt.Fprintln(r.log, c.Logs(20))
		r.discard(c)
		return nil, err
	}
	return &server{bootstrap: c.Bootstrap(), pids: pidsOf(c), cluster: c, stop: func() { r.discard(c) }}, nil
}

func pidsOf(c *lab.Cluster) []int {
	var pids []int
	for _, n := range c.Nodes() {
		pids = append(pids, n.PID())
	}
	return pids
}

func (r *runner) sink(ctx context.Context) (*server, error) {
	cmd := exec.CommandContext(ctx, r.binary, "bench", "sink", "--listen", "127.0.0.1:0")
	cmd.Stderr = r.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return nil, fmt.Errorf("start a sink: %w", err)
	}
	fields := strings.Fields(line)
	return &server{bootstrap: fields[len(fields)-1:], pids: []int{cmd.Process.Pid}, stop: stop}, nil
}

// load runs a workload of "quorate bench" and decodes what it measured.
func (r *runner) load(ctx context.Context, s *server, result any, workload, topic string, args ...string) error {
	all := append([]string{"bench", workload, topic, "-b", strings.Join(s.bootstrap, ","), "-o", "json", "--progress", "0s", "--timeout", "2m"}, args...)
	for _, pid := range s.pids {
		all = append(all, "--server-pid", strconv.Itoa(pid))
	}
	cmd := exec.CommandContext(ctx, r.binary, all...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "QUORATE_") })
	defer r.profile(ctx, s, workload)()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("quorate %s: %w: %s%s", strings.Join(all, " "), err, errs.String(), firstBytes(out.String()))
	}
	return json.Unmarshal(out.Bytes(), result)
}

func firstBytes(s string) string { return s[:min(len(s), 2000)] }

// interleave gives every variant its turns: forwards, backwards and so on.
func (r *runner) interleave(ctx context.Context, variants []string, run func(variant string) error) error {
	order := slices.Clone(variants)
	for range r.rounds() {
		for _, v := range order {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := run(v); err != nil {
				return fmt.Errorf("%s: %w", v, err)
			}
		}
		slices.Reverse(order)
	}
	return nil
}
