package kit_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus/consensustest/kit"
)

// judge runs the cases that have one of only in their name, or all, and returns
// the rules that were found broken, and where.
func judge(t *testing.T, seed uint64, patience time.Duration, wrong mutation, only ...string) (rules []string, report *kit.Report) {
	r := &reference{wrong: wrong, clusters: map[string]*cluster{}}
	front := kit.InProcess{New: r.New}
	o := kit.Options{Level: 2, Quick: true, Seed: seed, Patience: patience, Dir: t.TempDir()}
	d := r.New().Describe()
	report = kit.NewReport(front, o, d)
	for _, c := range kit.Selected(o) {
		if len(only) > 0 && !slices.ContainsFunc(only, func(part string) bool { return strings.Contains(c.String(), part) }) {
			continue
		}
		report.Add(kit.RunCase(t.Context(), front, o, c, d))
	}
	for _, one := range report.Results {
		for _, rule := range one.BrokenRules() {
			if !slices.Contains(rules, rule) {
				rules = append(rules, rule)
			}
		}
	}
	return rules, report
}

// The reference keeps every rule: what the kit finds in a mutant is the mutation.
func TestReferencePasses(t *testing.T) {
	if rules, report := judge(t, 1, time.Minute, mutation{}); len(rules) > 0 {
		t.Fatalf("the reference breaks %v:\n%s", rules, report.Text())
	}
}

// maxSeeds is with how many seeds a mutant is tried.
const maxSeeds = 4

// Every mutant must be caught, with the rule that it breaks named.
func TestMutants(t *testing.T) {
	mutants := []struct {
		name  string
		wrong mutation
		rule  string
		only  string // the case that must catch it
	}{
		{"skip fsync", mutation{skipFsync: true}, "S1", "11 all die"},
		{"ack before sync", mutation{ackBeforeSync: true}, "S1", "11 killed under load"},
		{"deliver uncommitted", mutation{deliverUncommitted: true}, "D1", "09 elections"},
		{"reuse a term", mutation{reuseTerm: true}, "T2", "09 elections"},
		{"reuse a term, one replica", mutation{reuseTerm: true}, "T3", "11 restarts"},
		{"the term falls", mutation{termFalls: true}, "T1", "11 all die"},
		{"forward proposals", mutation{forward: true}, "P4", "10 leaders die"},
		{"snapshot label ahead", mutation{labelAhead: true}, "S4", "18 snapshots older"},
		{"COMMITTED for REJECTED", mutation{commitRejected: true}, "P3", "04 proposals"},
		{"REJECTED for COMMITTED", mutation{rejectCommitted: true}, "P3", "04 proposals"},
		{"hung health", mutation{hungHealth: true}, "L3", "17 health"},
		{"gaps in indexes", mutation{gap: true}, "D2", "04 proposals"},
		{"two leaders in a term", mutation{twoLeaders: true}, "T2", "09 elections"},
		{"append twice", mutation{appendTwice: true}, "P4", "04 proposals"},
		{"no outcome", mutation{noAnswer: true}, "P3", "04 proposals"},
		{"ready early", mutation{readyEarly: true}, "T4", "09 elections"},
		{"never step down", mutation{neverStepsDown: true}, "T5", "13 a leader without"},
		{"stale reads", mutation{staleReads: true}, "R1", "13 a leader without"},
		{"half a snapshot", mutation{halfSnapshots: true}, "S4", "18 snapshots appear"},
		{"compact too far", mutation{keepsNothing: true}, "S5", "18 compaction"},
		{"reorder", mutation{reorder: true}, "P2", "04 proposals"},
		{"replicas differ", mutation{divergent: true}, "D3", "11 all die"},
		{"unknown options are valid", mutation{anyOptions: true}, "L1", "01"},
		{"small proposals only", mutation{smallProposals: true}, "P7", "01"},
	}
	// They mostly wait, so more of them run at once than there are processors.
	found, reports := make([][]string, len(mutants)), make([]*kit.Report, len(mutants))
	slots := make(chan struct{}, 6)
	var running sync.WaitGroup
	for i, m := range mutants {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			// A kill has to hit a moment for some of them: the quick form gets a few.
			for seed := uint64(1); seed <= maxSeeds && !slices.Contains(found[i], m.rule); seed++ {
				found[i], reports[i] = judge(t, seed, 10*time.Second, m.wrong, m.only)
			}
		})
	}
	running.Wait()
	for i, m := range mutants {
		t.Logf("%-28s %-4s caught by %-24s found: %s", m.name, m.rule, m.only, strings.Join(found[i], " "))
		if !slices.Contains(found[i], m.rule) {
			t.Errorf("%s breaks %s, and the kit found %v\n%s", m.name, m.rule, found[i], reports[i].Text())
		}
	}
}
