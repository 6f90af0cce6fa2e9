package kit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Text is the report as people read it: the rules, what was found, and figures.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, %s, level %d, seed %d\n\n", r.Backend, r.Version, r.Front, r.Level, r.Seed)
	for _, rule := range r.Rules() {
		fmt.Fprintf(&b, "%-15s  %s\n", rule.Rule, rule.Verdict())
	}
	for _, one := range r.Results {
		for _, f := range one.Findings {
			fmt.Fprintf(&b, "\n%s, seed %d\n  %s: %s\n", one.Case, r.Seed, f.Rule, f.What)
		}
		if len(one.Figures) > 0 {
			fmt.Fprintf(&b, "\n%s:", one.Case)
			for _, name := range slices.Sorted(maps.Keys(one.Figures)) {
				fmt.Fprintf(&b, " %s %.2f", name, one.Figures[name])
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// Line is one result in one line.
func (r Result) Line() string {
	verdict := "ok"
	switch {
	case r.Skipped != "":
		verdict = "not run: " + r.Skipped
	case r.Failed():
		verdict = "FAILED: " + strings.Join(r.BrokenRules(), " ")
	}
	return fmt.Sprintf("%-46s %7s  %s", r.Case, r.Duration.Round(10*time.Millisecond), verdict)
}
