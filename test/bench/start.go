package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quorate/quorate/cmd/quorate/bench"
	"github.com/quorate/quorate/test/lab"
)

// manyPartitions is how many a node has that has many.
const manyPartitions = 10_000

// patience bounds everything that is waited for.
const patience = 2 * time.Minute

// start measures the time from the start of the process to its being ready, and the
// memory of a node that does nothing.
func start(ctx context.Context, r *runner) ([]figure, error) {
	t := table{}
	var failed error
	for range choose(r, 3, 7) {
		if failed = r.startOnce(ctx, t); failed != nil {
			break
		}
	}
	if len(t["empty, again"]) == 0 {
		return nil, failed
	}
	empty, again, many := t["empty"], t["empty, again"], t["10 000 partitions"]
	each := samples{}
	for i := range many["PSS MB"] {
		each = append(each, (many["PSS MB"][i]-again["PSS MB"][i])*1e6/manyPartitions/1e3)
	}
	ready, idle, per := many["s"].seen("%.2f s"), memory(many), each.seen("%.1f KB")
	if failed != nil {
		ready, idle, per = "failed: "+lastLine(failed), "-", "-"
	}
	return []figure{
		judged("start to ready, one node, empty", "<= 0.5 s", fmt.Sprintf("%s; again %s", empty["s"].seen("%.2f s"), again["s"].seen("%.2f s")), empty["s"].median() <= 0.5, t),
		judged("start to ready, one node, 10 000 partitions", "<= 1.5 s", ready, failed == nil && many["s"].median() <= 1.5, nil),
		judged("idle memory, broker + plugin", "<= 60 MB", memory(again), again["PSS MB"].median() <= 60, nil),
		judged("idle memory, 10 000 partitions", "<= 100 MB", idle, failed == nil && many["PSS MB"].median() <= 100, nil),
		judged("memory per idle partition", "<= 4 KB", per, failed == nil && each.median() <= 4, nil),
	}, failed
}

func (r *runner) startOnce(ctx context.Context, t table) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := r.cluster(1, settings(r.modes[len(r.modes)-1]))
	if err != nil {
		return err
	}
	defer r.discard(c)
	n := c.Node(1)
	if err := r.timeStart(ctx, n, t, "empty"); err != nil {
		return err
	}
	if err := n.Stop(ctx); err != nil {
		return err
	}
	if err := r.timeStart(ctx, n, t, "empty, again"); err != nil {
		return err
	}
	begun := time.Now()
	var got bench.ProduceResult // makes the topic; a record into each partition
	s := &server{bootstrap: c.Bootstrap(), cluster: c}
	if err := r.load(ctx, s, &got, "produce", "many", "-p", strconv.Itoa(manyPartitions), "-r", "1", "-n", strconv.Itoa(manyPartitions), "--record-size", "100", "--batch-size", "100"); err != nil {
		return err
	}
	fmt.Fprintf(r.log, "create   10 000 partitions, and a record in each: %.2f s\n", time.Since(begun).Seconds())
	if err := n.Stop(ctx); err != nil {
		return err
	}
	return r.timeStart(ctx, n, t, "10 000 partitions")
}

// lastLine is where a program that ended says why.
func lastLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	last := lines[len(lines)-1]
	if _, reason, ok := strings.Cut(last, "quorate: "); ok {
		last = reason
	}
	return last[max(0, len(last)-100):]
}

// timeStart starts a node, and lets it idle for a moment.
func (r *runner) timeStart(ctx context.Context, n *lab.Node, t table, variant string) error {
	begun := time.Now()
	if err := n.Start(); err != nil {
		return err
	}
	if err := n.AwaitReady(ctx); err != nil {
		return err
	}
	t.add(variant, "s", time.Since(begun).Seconds())
	idle := time.NewTimer(2 * time.Second)
	defer idle.Stop()
	select {
	case <-idle.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	plugin, err := n.PluginPID()
	if err != nil {
		return err
	}
	var pss, rss int64
	for _, pid := range []int{n.PID(), plugin} {
		p, s, err := memoryOf(pid)
		if err != nil {
			return err
		}
		pss, rss = pss+p, rss+s
	}
	t.add(variant, "PSS MB", float64(pss)/1e6)
	t.add(variant, "RSS MB", float64(rss)/1e6)
	fmt.Fprintf(r.log, "start    %s: %.2f s; %.1f MB (RSS %.1f)\n", variant, time.Since(begun).Seconds()-2, float64(pss)/1e6, float64(rss)/1e6)
	return nil
}

// memoryOf is what a process has in memory: its share of it, which counts the program
// that broker and plugin have in common once, and all that it can touch.
func memoryOf(pid int) (pss, rss int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue // the first line: addresses
		}
		switch fields[0] {
		case "Pss:":
			pss = n << 10
		case "Rss:":
			rss = n << 10
		}
	}
	return pss, rss, nil
}

func memory(t map[string]samples) string {
	return fmt.Sprintf("%s (RSS %s)", t["PSS MB"].seen("%.0f MB"), t["RSS MB"].seen("%.0f MB"))
}

// recovery kills a node under load and measures how long it takes to be ready again.
func recovery(ctx context.Context, r *runner) ([]figure, error) {
	t := table{}
	mode := r.modes[len(r.modes)-1] // the default
	err := r.interleave(ctx, []string{"warm", "cold"}, func(variant string) error {
		return r.recoverOnce(ctx, t, mode, variant == "cold")
	})
	if err != nil {
		return nil, err
	}
	warm, cold := t["warm"]["s"], t["cold"]["s"]
	return []figure{
		judged("recovery after kill -9, "+sync(mode), "<= 1 s", fmt.Sprintf("%s, max %.2f s; %s", warm.seen("%.2f s"), warm.max(), t["warm"]["GB"].seen("%.1f GB in the log")), warm.max() <= 1, t),
		judged("recovery with a cold page cache, as after a power loss, "+sync(mode), "<= 2 s", fmt.Sprintf("%s, max %.2f s", cold.seen("%.2f s"), cold.max()), cold.max() <= 2, nil),
	}, nil
}

func (r *runner) recoverOnce(ctx context.Context, t table, mode string, cold bool) error {
	s, err := r.start(ctx, mode, 1)
	if err != nil {
		return err
	}
	defer s.stop()
	n := s.cluster.Node(1)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 1)
	go func() {
		var got bench.ProduceResult
		failed <- r.load(loading, s, &got, "produce", "load", "-p", "12", "--record-size", "1000", "--batch-size", "64KiB", "-d", "1m", "--connections", connections)
	}()
	timer := time.NewTimer(choose(r, 4*time.Second, 10*time.Second))
	defer timer.Stop()
	select {
	case err := <-failed:
		return fmt.Errorf("the load ended early: %w", err)
	case <-timer.C:
	}
	if err := n.Kill(); err != nil {
		return err
	}
	stop()
	<-failed //nolint:errcheck // it was killed
	variant := "warm"
	if cold {
		variant = "cold"
		if err := evict(n.DataDir()); err != nil {
			return err
		}
	}
	bytes, err := logBytes(n.DataDir())
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := n.Start(); err != nil {
		return err
	}
	if err := n.AwaitReady(ctx); err != nil {
		return err
	}
	t.add(variant, "s", time.Since(begun).Seconds())
	t.add(variant, "GB", float64(bytes)/1e9)
	fmt.Fprintf(r.log, "recovery %s: %.2f s, %.2f GB\n", variant, time.Since(begun).Seconds(), float64(bytes)/1e9)
	var got bench.ProduceResult // it works again
	s.pids = pidsOf(s.cluster)
	return r.load(ctx, s, &got, "produce", "load", "-n", "12", "--record-size", "1000", "--batch-size", "1000")
}

// walkFiles calls do with every file below a directory.
func walkFiles(dir string, do func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return do(path, info)
	})
}

// logBytes is the size of the partitions' logs.
func logBytes(dir string) (sum int64, err error) {
	err = walkFiles(dir, func(path string, info fs.FileInfo) error {
		if strings.HasSuffix(path, ".log") {
			sum += info.Size()
		}
		return nil
	})
	return sum, err
}

// evict takes a directory's files out of the page cache.
func evict(dir string) error {
	return walkFiles(dir, func(path string, _ fs.FileInfo) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil { // what is dirty cannot be evicted
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
