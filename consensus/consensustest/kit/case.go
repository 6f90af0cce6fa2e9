package kit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/quorate/quorate/consensus"
)

// Options says how strict the kit is, and how the backend is configured.
type Options struct {
	// Level is how far the kit goes: 1 a single replica, 2 three of them and
	// crashes, 3 partitions, pauses and linearizability, 4 all of it for long.
	Level int
	// Quick asks for the short form of every case.
	Quick bool
	// Seed decides what is random. A case with the same seed makes the same choices.
	Seed uint64
	// Only, if not empty, is what a case must have in its name.
	Only string
	// Skip, if not empty, is what a case must not have in its name: a deviation
	// that is known. There is no certificate then.
	Skip string
	// Nodes bounds the clusters that are formed; 0 = what the backend takes.
	Nodes int
	// Backend is passed to the backend as its options.
	Backend json.RawMessage
	// Timing is passed to the backend; 20 ms and 200 ms if zero.
	Timing consensus.Timing
	// PeerTLS is the identity of every replica, if not nil; for 127.0.0.1.
	PeerTLS *consensus.PeerTLS
	// Previous is an earlier version of the backend, which is upgraded from; nil:
	// there is none, and upgrades are not judged.
	Previous Front
	// Parallel is how many cases run at the same time, each with replicas of its
	// own; 1 if zero. Cases that measure run alone.
	Parallel int
	// Soak is how long the random mix of faults of level 4 goes on; 30 min if zero.
	Soak time.Duration
	// Patience is how long the kit waits for what must happen at some time; 30 s if
	// zero. Nothing is judged by the clock but what hangs.
	Patience time.Duration
	// Dir is where replicas keep their data; the system's temporary directory if empty.
	Dir string
	// Log gets what the kit does; nil: nothing.
	Log *slog.Logger
}

func (o Options) complete() Options {
	if o.Timing == (consensus.Timing{}) {
		o.Timing = consensus.Timing{Heartbeat: 20 * time.Millisecond, ElectionTimeout: 200 * time.Millisecond}
	}
	o.Level = min(max(o.Level, 1), 4)
	o.Patience = cmp.Or(o.Patience, 30*time.Second)
	o.Soak = cmp.Or(o.Soak, 30*time.Minute)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return o
}

// Case is one experiment. What it finds wrong it reports under the name of the
// rule that is broken; Rules are those it judges.
type Case struct {
	Number  int // in the design's list of cases
	Name    string
	Level   int // the lowest level that it belongs to
	Nodes   int
	Rules   []string
	Process bool // it needs replicas that are processes
	Links   bool // it needs proxies between replicas
	Faults  bool // it spoils the storage of replicas; see package faults
	Upgrade bool // it needs an earlier version
	Alone   bool // it measures, so nothing else may run
	Members int  // it needs so many members at once, if that is more than Nodes
	Needs   consensus.Capability
	run     func(*lab)
}

// String is the case's number and name, as Options.Only looks at it.
func (c Case) String() string { return fmt.Sprintf("%02d %s", c.Number, c.Name) }

// Cases returns every case, in the order in which they run.
func Cases() []Case {
	all := slices.Concat(lifecycleCases, proposalCases, deliveryCases, durabilityCases, snapshotCases, clusterCases, partitionCases, membershipCases,
		storageCases, peerCases, versionCases, longCases)
	slices.SortStableFunc(all, func(a, b Case) int { return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Number, b.Number)) })
	return all
}

// Result is what one case found.
type Result struct {
	Case     Case
	Findings []Finding
	Skipped  string // why it was not run, or not to its end, if so
	Duration time.Duration
	Figures  map[string]float64
}

// Failed tells whether the case found a rule broken.
func (r Result) Failed() bool { return len(r.Findings) > 0 }

// skip says why c cannot be run, or "".
func skip(front Front, o Options, c Case, d consensus.Description) string {
	_, processes := front.(commander)
	spoils, ok := front.(spoiler)
	spoilable := ok && spoils.passesEnvironment()
	switch {
	case c.Process && !processes:
		return "it needs processes"
	case tooSmall(c, o, d):
		return fmt.Sprintf("it needs %d replicas", max(c.Nodes, c.Members))
	case c.Needs != 0 && !slices.Contains(d.Capabilities, c.Needs):
		return fmt.Sprintf("the backend does not claim the capability %s", c.Needs)
	case c.Faults && !spoilable:
		return "faults of the storage can be injected into processes only"
	case c.Upgrade && o.Previous == nil:
		return "no earlier version was given (--previous PATH)"
	default:
		return ""
	}
}

// tooSmall tells whether the clusters that the backend forms, or that were asked
// for, are too small for c.
func tooSmall(c Case, o Options, d consensus.Description) bool {
	return max(c.Nodes, c.Members) > int(d.Limits.MaxMembers) || o.Nodes > 0 && c.Nodes > o.Nodes
}

// RunCase runs one case against the backend behind front, which describes
// itself as d.
func RunCase(ctx context.Context, front Front, o Options, c Case, d consensus.Description) (result Result) {
	o = o.complete()
	result = Result{Case: c, Figures: map[string]float64{}}
	if result.Skipped = skip(front, o, c, d); result.Skipped != "" {
		return result
	}
	var mu sync.Mutex
	report := func(f Finding) {
		o.Log.Error("a rule is broken", "case", c.String(), "rule", f.Rule, "what", f.What)
		mu.Lock()
		defer mu.Unlock()
		result.Findings = append(result.Findings, f)
	}
	started := time.Now()
	defer func() { result.Duration = time.Since(started) }()
	dir, err := os.MkdirTemp(o.Dir, "quorate-kit-")
	if err != nil {
		report(Finding{Rule: "kit", What: err.Error()})
		return result
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left is the system's to clean up
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &lab{
		ctx: ctx, front: front, opts: o, described: d, log: o.Log, dir: dir, clusterID: fmt.Sprintf("kit-%016x", rand.Uint64()),
		random: rand.New(rand.NewPCG(o.Seed, seedOf(c))), checks: newChecks(report), sequences: newSequencer(),
		tuning: consensus.GroupTuning{RetainEntries: 4}, timing: o.Timing, figures: result.Figures,
	}
	l.runCase(c, cancel)
	if !result.Failed() {
		result.Skipped = l.skipped
	}
	return result
}

// seedOf makes the random choices of one case independent of the others'.
func seedOf(c Case) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.Name)) // a hash does not fail
	return h.Sum64()
}

// runCase runs the case, ends what it has left running and judges the whole.
func (l *lab) runCase(c Case, cancel func()) {
	func() {
		defer l.recovered()
		if c.Links {
			_, processes := l.front.(commander)
			l.links = newNetwork(processes && runtime.GOOS == "linux", l.pids)
		}
		l.addNodes(c.Nodes)
		c.run(l)
	}()
	if l.links != nil {
		l.links.heal()
	}
	l.stopAll()
	cancel()
	l.background.Wait()
	if l.links != nil {
		l.links.close()
	}
	for _, unmount := range l.unmount {
		unmount()
	}
	for _, p := range l.ports {
		l.checkMachine(p.Release())
	}
	l.checks.finish()
}

// recovered makes a finding of a panic that is not giveUp's.
func (l *lab) recovered() {
	switch p := recover().(type) {
	case nil, abandoned:
	default:
		l.checks.breaks("kit", "panic: %v\n%s", p, debug.Stack())
	}
}

func (l *lab) pids() map[uint64]int {
	pids := map[uint64]int{}
	for _, n := range l.everybody() {
		if p := n.process(); p != nil {
			pids[n.id] = p.PID()
		}
	}
	return pids
}

// Run runs every case of the level that o asks for, and tells done about each,
// one after the other. The error is about the backend as a whole: it does not
// even describe itself.
func Run(ctx context.Context, front Front, o Options, done func(Result)) (*Report, error) {
	o = o.complete()
	d, err := front.Describe(ctx)
	if err != nil {
		return nil, fmt.Errorf("describe the backend: %w", err)
	}
	report := NewReport(front, o, d)
	cases := Selected(o)
	results := make([]Result, len(cases))
	var reporting, running sync.WaitGroup
	finished := make(chan Result, len(cases))
	reporting.Go(func() {
		for r := range finished {
			done(r)
		}
	})
	slots := make(chan struct{}, max(o.Parallel, 1))
	for i, c := range cases {
		weight := 1
		if c.Alone {
			weight = cap(slots)
		}
		for range weight {
			slots <- struct{}{}
		}
		running.Go(func() {
			if ctx.Err() == nil {
				results[i] = RunCase(ctx, front, o, c, d)
				finished <- results[i]
			}
			for range weight {
				<-slots
			}
		})
	}
	running.Wait()
	close(finished)
	reporting.Wait()
	if ctx.Err() != nil {
		return report, errors.Join(errors.New("interrupted"), ctx.Err())
	}
	for _, r := range results {
		report.Add(r)
	}
	report.Finished = time.Now()
	return report, nil
}
