package kit

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
)

// resultJSON is a Result as it is written for programs.
type resultJSON struct {
	Number   int                `json:"number"`
	Name     string             `json:"name"`
	Level    int                `json:"level"`
	Rules    []string           `json:"rules"`
	Status   string             `json:"status"`            // "passed", "failed" or "not_run"
	NotRun   string             `json:"not_run,omitempty"` // why
	Seconds  float64            `json:"seconds"`
	Findings []Finding          `json:"findings,omitempty"`
	Figures  map[string]float64 `json:"figures,omitempty"`
}

func (r Result) json() resultJSON {
	out := resultJSON{
		Number: r.Case.Number, Name: r.Case.Name, Level: r.Case.Level, Rules: r.Case.Rules, Status: "passed",
		NotRun: r.Skipped, Seconds: r.Duration.Seconds(), Findings: r.Findings, Figures: r.Figures,
	}
	switch {
	case r.Skipped != "":
		out.Status = "not_run"
	case r.Failed():
		out.Status = "failed"
	}
	return out
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	cases := make([]resultJSON, len(r.Results))
	for i, one := range r.Results {
		cases[i] = one.json()
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{
		"backend": r.Backend, "version": r.Version, "contract": r.Contract, "front": r.Front, "sha256": r.SHA256,
		"level": r.Level, "quick": r.Quick, "seed": r.Seed, "passed": r.Passed(), "started": r.Started, "finished": r.Finished,
		"rules": r.Rules(), "cases": cases,
	})
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Seconds  float64     `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name     string      `xml:"name,attr"`
	Class    string      `xml:"classname,attr"`
	Seconds  float64     `xml:"time,attr"`
	Failures []junitNote `xml:"failure"`
	Skipped  *junitNote  `xml:"skipped"`
}

type junitNote struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
}

// WriteJUnit writes the report as JUnit's XML, which every CI shows.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: r.Backend + " " + r.Version, Tests: len(r.Results), Seconds: r.Finished.Sub(r.Started).Seconds()}
	for _, one := range r.Results {
		c := junitCase{Name: one.Case.String(), Class: fmt.Sprintf("level%d", one.Case.Level), Seconds: one.Duration.Seconds()}
		for _, f := range one.Findings {
			c.Failures = append(c.Failures, junitNote{Message: f.What, Type: f.Rule})
		}
		if one.Failed() {
			suite.Failures++
		}
		if one.Skipped != "" {
			c.Skipped = &junitNote{Message: one.Skipped}
			suite.Skipped++
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// page is the report for a browser, in one file.
var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"names": func(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) },
}).Parse(`<!doctype html><meta charset="utf-8"><title>{{.Backend}} {{.Version}}</title>
<style>body{font:15px sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}.bad{background:#fdd}.skip{color:#777}</style>
<h1>{{.Backend}} {{.Version}}: {{if .Passed}}passed{{else}}failed{{end}}, level {{.Level}}</h1>
<p>Contract {{.Contract}}, {{.Front}}, seed {{.Seed}}, {{.Finished.Format "2006-01-02 15:04"}}. SHA-256 {{.SHA256}}</p>
<table><tr><th>Rule<th>Result{{range .Rules}}
<tr{{if .Broken}} class="bad"{{end}}><td>{{.Rule}}<td>{{if .Broken}}broken in {{range .Broken}}{{.}}; {{end}}{{else}}ok, {{.Judged}} cases{{end}}{{end}}</table>
<table><tr><th>Case<th>Rules<th>Time<th>Result{{range .Results}}
<tr class="{{if .Failed}}bad{{else if .Skipped}}skip{{end}}"><td>{{.Case}}<td>{{range .Case.Rules}}{{.}} {{end}}<td>{{.Duration}}<td>{{if .Skipped}}skipped: {{.Skipped}}{{else if not .Failed}}ok{{end}}
{{range .Findings}}<b>{{.Rule}}</b> {{.What}}<br>{{end}}{{$f := .Figures}}{{range names $f}}{{.}} {{index $f . | printf "%.2f"}}<br>{{end}}{{end}}</table>
`))

// WriteHTML writes the report as a page.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r) }
