package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// figure is one line of the table.
type figure struct {
	Name  string `json:"figure"`
	Reach string `json:"reach,omitempty"` // in words; empty: only shown
	Seen  string `json:"seen"`
	// Reached is nil if there is nothing to reach.
	Reached *bool `json:"reached,omitempty"`
	Samples table `json:"samples,omitempty"`
}

// shown is a figure that is only shown.
func shown(name, seen string, t table) figure { return figure{Name: name, Seen: seen, Samples: t} }

// judged is a figure that is to be reached.
func judged(name, reach, seen string, reached bool, t table) figure {
	return figure{Name: name, Reach: reach, Seen: seen, Reached: &reached, Samples: t}
}

// group is what one row has seen.
type group struct {
	Group   string    `json:"group"`
	Row     string    `json:"row"`
	Form    string    `json:"form"`
	Time    time.Time `json:"time"`
	Busy    float64   `json:"busy"` // how much of the CPUs others used before, from 0 to 1
	Figures []figure  `json:"figures"`
}

// report is everything that was seen, on one machine.
type report struct {
	Machine string  `json:"machine"`
	Rows    []group `json:"rows"`

	path, form string
}

func newReport(path string, full bool) (*report, error) {
	rep := &report{}
	if path != "" {
		var err error
		if rep, err = readReport(path); errors.Is(err, fs.ErrNotExist) {
			rep = &report{}
		} else if err != nil {
			return nil, err
		}
	}
	rep.path, rep.Machine, rep.form = path, machine(), "quick"
	if full {
		rep.form = "full"
	}
	return rep, nil
}

func readReport(path string) (*report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rep := &report{}
	if err := json.Unmarshal(b, rep); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rep, nil
}

// add takes what a row has seen, in the place of what an earlier run did.
func (rep *report) add(r row, busy float64, figures []figure) error {
	g := group{Group: r.group, Row: r.name, Form: rep.form, Time: time.Now().UTC().Truncate(time.Second), Busy: busy, Figures: figures}
	at := slices.IndexFunc(rep.Rows, func(g group) bool { return g.Group == r.group && g.Row == r.name })
	switch {
	case len(figures) == 0:
		return nil
	case at >= 0:
		rep.Rows[at] = g
	default:
		rep.Rows = append(rep.Rows, g)
	}
	slices.SortStableFunc(rep.Rows, func(a, b group) int { return place(a) - place(b) })
	if rep.path == "" {
		return nil
	}
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(rep.path, append(b, '\n'), 0o644)
}

// place is a group's place in the table.
func place(g group) int {
	return slices.IndexFunc(rows, func(r row) bool { return r.group == g.Group && r.name == g.Row })
}

// print writes the table, as Markdown: for eyes and for the documentation.
func (rep *report) print(w io.Writer) error {
	lines := [][]string{{"figure", "reach", "seen", ""}, {"---", "---", "---", "---"}}
	var disturbed []string
	for _, g := range rep.Rows {
		mark := ""
		if g.Busy > tooBusy {
			mark = " *"
			disturbed = append(disturbed, fmt.Sprintf("%s %.0f %%", g.Row, 100*g.Busy))
		}
		for _, f := range g.Figures {
			lines = append(lines, []string{f.Name, f.Reach, f.Seen, f.verdict() + mark})
		}
	}
	width := make([]int, 4)
	for _, l := range lines {
		for i, cell := range l {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	fmt.Fprintf(w, "%s\n\n", rep.Machine)
	for _, l := range lines {
		for i, cell := range l {
			fill := " "
			if cell == "---" {
				fill = "-"
			}
			l[i] = cell + strings.Repeat(fill, width[i]-len([]rune(cell)))
		}
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(l, " | ")); err != nil {
			return err
		}
	}
	if len(disturbed) > 0 {
		fmt.Fprintf(w, "\n\\* The machine was busy with other things before: %s. Such a figure says little.\n", strings.Join(disturbed, ", "))
	}
	return nil
}

func (f figure) verdict() string {
	switch {
	case f.Reached == nil:
		return ""
	case *f.Reached:
		return "reached"
	default:
		return "NOT REACHED"
	}
}

// machine says what was measured on.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("unknown")
	}
	return fmt.Sprintf("%d CPUs (%s), Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}
