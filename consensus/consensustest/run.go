package consensustest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

// Config says what Run is to judge.
type Config struct {
	// New returns a backend that has not been started. Required.
	New func() consensus.Backend
	// Name is how the backend is called in the report; what it says of itself if empty.
	Name string
	// Nodes is the largest cluster to form, 1 or 3; as many as the backend's
	// Limits.MaxMembers allow if 0.
	Nodes int
	// Options are passed to Start.
	Options json.RawMessage
	// Timing is passed to Start; 20 ms and 200 ms if zero. Nothing is judged by the clock.
	Timing consensus.Timing
	// PeerTLS is the identity of every node, if not nil. Its certificate must be for 127.0.0.1.
	PeerTLS *consensus.PeerTLS
	// Kill ends a backend as abruptly as it can be done in one process, and
	// releases its port. Stop, with a context that has ended, if nil.
	Kill func(consensus.Backend)
	// Only, if not empty, runs only the cases that have it in their name.
	Only string
}

// T is what a case needs of the test that runs it: a *testing.T, or whatever
// another front of the kit puts in its place.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	TempDir() string
	Cleanup(func())
	Context() context.Context
}

// Case is one experiment. What it finds wrong it reports under the name of the
// rule that is broken; Rules are those it can find.
type Case struct {
	Name  string
	Nodes int
	Rules []string
	run   func(*lab)
}

// Cases returns every case, in the order in which they run.
func Cases() []Case { return slices.Concat(singleCases, snapshotCases, clusterCases) }

// Run judges the backend that cfg.New makes, in this process, over real sockets
// on 127.0.0.1 and real directories. Every case is a subtest.
func Run(t *testing.T, cfg Config) {
	cfg = withDefaults(cfg)
	verdict := newVerdict()
	for _, c := range Cases() {
		if c.Nodes > cfg.Nodes || !strings.Contains(c.Name, cfg.Only) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) { RunCase(t, cfg, c, verdict) })
	}
	t.Logf("%s on %d nodes\n%s", cfg.Name, cfg.Nodes, verdict)
}

// RunCase runs one case and enters its result into v.
func RunCase(t T, cfg Config, c Case, v *Verdict) {
	l := newLab(t, withDefaults(cfg), c.Nodes)
	defer func() {
		l.stopAll()
		l.checks.finish()
		v.enter(c, l.checks.brokenRules(), t.Failed())
	}()
	c.run(l)
}

func withDefaults(cfg Config) Config {
	d := cfg.New().Describe()
	if cfg.Name == "" {
		cfg.Name = d.Backend
	}
	if cfg.Nodes == 0 {
		cfg.Nodes = int(min(d.Limits.MaxMembers, 3))
	}
	if cfg.Timing == (consensus.Timing{}) {
		cfg.Timing = consensus.Timing{Heartbeat: 20 * time.Millisecond, ElectionTimeout: 200 * time.Millisecond}
	}
	if cfg.Kill == nil {
		cfg.Kill = stopAtOnce
	}
	return cfg
}

func stopAtOnce(b consensus.Backend) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = b.Stop(ctx) // what it says of its abrupt end does not matter
}

// Verdict is the result per rule.
type Verdict struct {
	passed, failed map[string][]string // rule to cases
}

func newVerdict() *Verdict {
	return &Verdict{passed: map[string][]string{}, failed: map[string][]string{}}
}

// enter notes a case that broke the rules in broken. A case that failed
// without naming one has failed all of its own.
func (v *Verdict) enter(c Case, broken []string, failed bool) {
	if failed && len(broken) == 0 {
		broken = c.Rules
	}
	for _, r := range broken {
		v.failed[r] = append(v.failed[r], c.Name)
	}
	for _, r := range c.Rules {
		if !slices.Contains(broken, r) {
			v.passed[r] = append(v.passed[r], c.Name)
		}
	}
}

// String is a table of rules, one a line.
func (v *Verdict) String() string {
	rules := map[string]bool{}
	for r := range v.passed {
		rules[r] = true
	}
	for r := range v.failed {
		rules[r] = true
	}
	var b strings.Builder
	for _, r := range slices.Sorted(maps.Keys(rules)) {
		if cases := v.failed[r]; len(cases) > 0 {
			fmt.Fprintf(&b, "%-3s FAILED in %s\n", r, strings.Join(cases, ", "))
		} else {
			fmt.Fprintf(&b, "%-3s ok, %d cases\n", r, len(v.passed[r]))
		}
	}
	return b.String()
}
