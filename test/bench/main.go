// Command bench measures this repository's broker and its consensus backends on the
// machine that it runs on, and prints what it saw beside what is to be reached:
//
//	go run ./test/bench -binary bin/quorate             the quick form, some minutes
//	go run ./test/bench -binary bin/quorate -full       longer and more often
//	go run ./test/bench -binary bin/quorate -only consensus
//	go run ./test/bench -profiles profiles               CPU profiles too
//	go run ./test/bench -from bench.json                print again what was seen
//
// Every figure is the median of runs of the real program, each on a data directory of
// its own. What is compared takes turns (A B B A …): the machine drifts, and so does
// everything that is measured on it, together. The null sink is the same load on a
// server that acknowledges without storing.
//
// Nothing here is a test: it asserts nothing about time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context) error {
	r := &runner{log: os.Stderr}
	var only, into, from string
	flag.StringVar(&r.binary, "binary", "bin/quorate", "the program to measure")
	flag.StringVar(&r.backend, "backend", "etcd-raft", "the consensus backend under the rows that are not about consensus")
	flag.StringVar(&r.scratch, "dir", "", "where data goes (default: a temporary directory)")
	flag.StringVar(&r.kafka, "kafka", "", "the class path of Apache Kafka's broker, to compare with (test/compat fetches one)")
	flag.BoolVar(&r.full, "full", false, "longer, and more often")
	flag.StringVar(&only, "only", "", "only rows whose group/name matches this pattern")
	flag.StringVar(&into, "json", "", "keep the figures in this file too; those that are there from earlier runs stay")
	flag.BoolVar(&r.noBallast, "no-ballast", false, "do not fill the page cache before each run: on a machine that has no free memory, or all of it for itself")
	flag.StringVar(&r.profiles, "profiles", "", "a directory for CPU profiles of the broker, one for each load")
	flag.StringVar(&from, "from", "", "measure nothing; print the figures of this file")
	flag.Parse()
	if from != "" {
		rep, err := readReport(from)
		if err != nil {
			return err
		}
		return rep.print(os.Stdout)
	}
	pattern, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	defer r.close()
	rep, err := newReport(into, r.full)
	if err != nil {
		return err
	}
	var errs []error
	for _, row := range rows {
		if !pattern.MatchString(row.group+"/"+row.name) || ctx.Err() != nil {
			continue
		}
		fmt.Fprintf(r.log, "== %s/%s\n", row.group, row.name)
		others, err := busy(ctx)
		if err != nil {
			return err
		}
		if others > tooBusy {
			fmt.Fprintf(r.log, "the machine is %.0f %% busy with other things\n", 100*others)
		}
		r.row = strings.NewReplacer(" ", "-", ",", "").Replace(row.name)
		figures, err := row.run(ctx, r)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s/%s: %w", row.group, row.name, err))
			fmt.Fprintf(r.log, "%s/%s: %v\n", row.group, row.name, err)
			if len(figures) == 0 && ctx.Err() == nil {
				figures = []figure{judged(row.name, "", "failed: "+lastLine(err), false, nil)}
			}
		}
		if err := rep.add(row, others, figures); err != nil {
			return err
		}
	}
	if err := rep.print(os.Stdout); err != nil {
		return err
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// row is one or several lines of the table.
type row struct {
	group, name string
	run         func(context.Context, *runner) ([]figure, error)
}

var rows = []row{
	{"one node", "produce 1 KB, 12 partitions", produceTwelve},
	{"one node", "produce 100 B, 12 partitions", produceSmall},
	{"one node", "produce 1 KB, 1 partition", producePartitions(1)},
	{"one node", "produce 1 KB, 1000 partitions", producePartitions(1000)},
	{"one node", "produce 1 KB, 10000 partitions", producePartitions(10_000)},
	{"one node", "consume 1 KB", consume},
	{"one node", "latency, 12 partitions", latency(12)},
	{"one node", "latency, 1 partition", latency(1)},
	{"one node", "latency, 1000 partitions", latency(1000)},
	{"one node", "latency, 10000 partitions", latency(10_000)},
	{"one node", "start", start},
	{"one node", "recovery", recovery},
	{"three nodes", "produce 1 KB, RF 3", produceReplicated},
	{"three nodes", "latency, RF 3", latencyReplicated},
	{"three nodes", "against Kafka", againstKafka},
	{"consensus", "hop", hop},
	{"consensus", "commit", commit},
	{"consensus", "failover", failover},
	{"consensus", "plugin killed", pluginKilled},
}

// prepare looks at what there is.
func (r *runner) prepare(ctx context.Context) (err error) {
	if r.binary, err = filepath.Abs(r.binary); err != nil {
		return err
	}
	if _, err := os.Stat(r.binary); err != nil {
		return fmt.Errorf("no quorate binary: %w (build it with: make build)", err)
	}
	if r.scratch == "" {
		if r.scratch, err = os.MkdirTemp("", "quorate-bench-"); err != nil {
			return err
		}
		r.temporary = true
	}
	for _, mode := range []string{"os", "always"} {
		if r.accepts(ctx, mode) {
			r.modes = append(r.modes, mode)
		}
	}
	if len(r.modes) == 0 {
		r.modes = []string{""}
	}
	fmt.Fprintf(r.log, "wal.sync: %s\n", strings.Join(r.modes, ", "))
	return nil
}
