package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"
)

func TestSamples(t *testing.T) {
	tests := []struct {
		s                  samples
		median, noise, max float64
		seen               string
	}{
		{nil, 0, 0, 0, "-"},
		{samples{3}, 3, 0, 3, "3.0 s"},
		{samples{4, 2}, 3, 1.0 / 3, 4, "3.0 s ±33 %"},
		{samples{9, 10, 20}, 10, 0.55, 20, "10.0 s ±55 %"},
	}
	for _, tt := range tests {
		if got := tt.s.median(); got != tt.median {
			t.Errorf("%v: median %v, want %v", tt.s, got, tt.median)
		}
		if got := tt.s.noise(); math.Abs(got-tt.noise) > 1e-9 {
			t.Errorf("%v: noise %v, want %v", tt.s, got, tt.noise)
		}
		if got := tt.s.max(); got != tt.max {
			t.Errorf("%v: max %v, want %v", tt.s, got, tt.max)
		}
		if got := tt.s.seen("%.1f s"); got != tt.seen {
			t.Errorf("%v: seen %q, want %q", tt.s, got, tt.seen)
		}
	}
}

// A report keeps what earlier runs have seen, in the order of the rows, and replaces
// what is seen again.
func TestReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	add := func(at int, f ...figure) *report {
		t.Helper()
		rep, err := newReport(path, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := rep.add(rows[at], float64(at)/10, f); err != nil {
			t.Fatal(err)
		}
		return rep
	}
	add(5, judged("late", "<= 1", "2", false, nil))
	add(0, shown("early", "old", nil))
	add(0, judged("early", ">= 1", "3 ±1 %", true, table{"a": {"s": {1, 2}}}))
	rep := add(1) // saw nothing, changes nothing
	var b strings.Builder
	if err := rep.print(&b); err != nil {
		t.Fatal(err)
	}
	want := `
| figure | reach | seen   |               |
| ------ | ----- | ------ | ------------- |
| early  | >= 1  | 3 ±1 % | reached       |
| late   | <= 1  | 2      | NOT REACHED * |

\* The machine was busy with other things before: consume 1 KB 50 %. Such a figure says little.
`
	if got := b.String(); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	again, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Rows[0].Figures[0].Samples["a"]["s"]; len(got) != 2 || got[1] != 2 {
		t.Errorf("samples %v are not those that were added", got)
	}
}
