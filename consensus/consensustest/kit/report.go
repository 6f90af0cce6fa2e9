package kit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/consensus"
)

// Report is what the kit found out about one backend.
type Report struct {
	Backend  string
	Version  string
	Contract string
	Front    string
	SHA256   string // of the executable, if the caller knows it
	Level    int
	Quick    bool
	Seed     uint64
	Partial  bool // not every case of the level was asked for
	Members  int  // of the largest cluster that the backend forms
	Started  time.Time
	Finished time.Time
	Results  []Result
}

// NewReport returns a report without results.
func NewReport(front Front, o Options, d consensus.Description) *Report {
	return &Report{
		Backend: d.Backend, Version: d.Version, Contract: fmt.Sprintf("1.%d", d.ContractMinor), Front: front.Name(),
		Level: o.Level, Quick: o.Quick, Seed: o.Seed, Partial: o.Only != "" || o.Skip != "" || o.Nodes > 0 && o.Nodes < 3, Started: time.Now(),
		Members: int(d.Limits.MaxMembers),
	}
}

// Selected returns the cases that o asks for.
func Selected(o Options) []Case {
	var out []Case
	for _, c := range Cases() {
		skipped := o.Skip != "" && strings.Contains(c.String(), o.Skip)
		if c.Level <= o.Level && strings.Contains(c.String(), o.Only) && !skipped {
			out = append(out, c)
		}
	}
	return out
}

// Add adds the result of one case.
func (r *Report) Add(one Result) { r.Results = append(r.Results, one) }

// Passed tells whether every case that was run found nothing, and at least one was.
func (r *Report) Passed() bool {
	return !r.Idle() && !slices.ContainsFunc(r.Results, Result.Failed)
}

// Idle tells whether no case was run.
func (r *Report) Idle() bool {
	return !slices.ContainsFunc(r.Results, func(one Result) bool { return one.Skipped == "" })
}

// RuleResult is what became of one rule.
type RuleResult struct {
	Rule   string   `json:"rule"`
	Judged int      `json:"judged"` // by so many cases
	Broken []string `json:"broken_in,omitempty"`
	// NotRun are the reasons why cases that judge it were not run, each once.
	NotRun []string `json:"not_run,omitempty"`
}

// Verdict is the result in a few words.
func (r RuleResult) Verdict() string {
	switch {
	case len(r.Broken) > 0:
		return "BROKEN in " + strings.Join(r.Broken, "; ")
	case r.Judged == 0:
		return "not run: " + strings.Join(r.NotRun, "; ")
	case r.Judged == 1:
		return "ok, 1 case"
	default:
		return fmt.Sprintf("ok, %d cases", r.Judged)
	}
}

// Rules returns the rules of all cases, in order: those that were judged, and
// those that could not be.
func (r *Report) Rules() []RuleResult {
	byRule := map[string]*RuleResult{}
	get := func(rule string) *RuleResult {
		if byRule[rule] == nil {
			byRule[rule] = &RuleResult{Rule: rule}
		}
		return byRule[rule]
	}
	for _, one := range r.Results {
		for _, rule := range one.Case.Rules {
			switch r := get(rule); {
			case one.Skipped == "":
				r.Judged++
			case !slices.Contains(r.NotRun, one.Skipped):
				r.NotRun = append(r.NotRun, one.Skipped)
			}
		}
		for _, rule := range one.BrokenRules() {
			get(rule).Broken = append(get(rule).Broken, one.Case.String())
		}
	}
	var out []RuleResult
	for _, rule := range slices.Sorted(maps.Keys(byRule)) {
		out = append(out, *byRule[rule])
	}
	return out
}

// BrokenRules returns the rules that the case found broken, each once.
func (r Result) BrokenRules() []string {
	broken := map[string]bool{}
	for _, f := range r.Findings {
		broken[f.Rule] = true
	}
	return slices.Sorted(maps.Keys(broken))
}
