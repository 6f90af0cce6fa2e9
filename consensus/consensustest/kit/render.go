package kit

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
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

// reportJSON is a Report as it is written for programs. Fields are only added.
type reportJSON struct {
	Backend  string       `json:"backend"`
	Version  string       `json:"version"`
	Contract string       `json:"contract"`
	SHA256   string       `json:"sha256"`
	Front    string       `json:"front"`
	Level    int          `json:"level"`
	Quick    bool         `json:"quick"`
	Seed     uint64       `json:"seed"`
	Passed   bool         `json:"passed"`
	Partial  bool         `json:"partial"` // not every case of the level was asked for
	Started  time.Time    `json:"started"`
	Finished time.Time    `json:"finished"`
	Rules    []RuleResult `json:"rules"`
	Cases    []resultJSON `json:"cases"`
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	out := reportJSON{
		Backend: r.Backend, Version: r.Version, Contract: r.Contract, SHA256: r.SHA256, Front: r.Front, Level: r.Level, Quick: r.Quick, Seed: r.Seed,
		Passed: r.Passed(), Partial: r.Partial, Started: r.Started.UTC(), Finished: r.Finished.UTC(), Rules: r.Rules(), Cases: []resultJSON{},
	}
	for _, one := range r.Results {
		out.Cases = append(out.Cases, one.json())
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

type junitSuites struct {
	XMLName  xml.Name   `xml:"testsuites"`
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Seconds  float64    `xml:"time,attr"`
	Suite    junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Seconds    float64         `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// junitCase has one failure at most, whatever was found: that is what readers of
// the format expect.
type junitCase struct {
	Name    string     `xml:"name,attr"`
	Class   string     `xml:"classname,attr"`
	Seconds float64    `xml:"time,attr"`
	Failure *junitNote `xml:"failure"`
	Skipped *junitNote `xml:"skipped"`
	Out     string     `xml:"system-out,omitempty"`
}

type junitNote struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit's XML, which every CI shows. The rules
// that are broken are a failure's type.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{
		Name: r.Backend + " " + r.Version, Tests: len(r.Results), Seconds: r.Finished.Sub(r.Started).Seconds(),
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
		Properties: []junitProperty{
			{"backend", r.Backend},
			{"version", r.Version},
			{"contract", r.Contract},
			{"sha256", r.SHA256},
			{"front", r.Front},
			{"level", fmt.Sprint(r.Level)},
			{"quick", fmt.Sprint(r.Quick)},
			{"seed", fmt.Sprint(r.Seed)},
		},
	}
	for _, one := range r.Results {
		suite.Cases = append(suite.Cases, one.junit(r.Backend))
		if one.Failed() {
			suite.Failures++
		}
		if one.Skipped != "" {
			suite.Skipped++
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Name: "quorate plugin verify", Tests: suite.Tests, Failures: suite.Failures, Seconds: suite.Seconds, Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (r Result) junit(backend string) junitCase {
	c := junitCase{Name: r.Case.String(), Class: fmt.Sprintf("%s.level%d", backend, r.Case.Level), Seconds: r.Duration.Seconds()}
	if r.Failed() {
		var lines []string
		for _, f := range r.Findings {
			lines = append(lines, f.Rule+": "+f.What)
		}
		c.Failure = &junitNote{Message: lines[0], Type: strings.Join(r.BrokenRules(), " "), Text: strings.Join(lines, "\n")}
	}
	if r.Skipped != "" {
		c.Skipped = &junitNote{Message: r.Skipped}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		c.Out += fmt.Sprintf("%s %.2f\n", name, r.Figures[name])
	}
	return c
}

// page is the report for a browser, in one file that fetches nothing.
var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"names": func(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) },
	"round": func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) },
	"verdict": func(r *Report) string {
		if r.Passed() {
			return "passed"
		}
		return "failed"
	},
}).Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{{.Backend}} {{.Version}}: {{verdict .}}</title>
<style>
body{font:15px sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}
.bad{background:#fdd}.idle{color:#777}code{overflow-wrap:anywhere}
</style>
<h1>{{.Backend}} {{.Version}}: {{verdict .}}, level {{.Level}}{{if .Quick}} (quick){{end}}</h1>
<p>Contract {{.Contract}}, {{.Front}}, seed {{.Seed}}, {{.Finished.UTC.Format "2006-01-02 15:04"}} UTC{{if .Partial}}, not every case of the level was asked for{{end}}.
SHA-256 <code>{{.SHA256}}</code></p>
<h2>Rules</h2>
<table>
<tr><th>Rule</th><th>Result</th></tr>
{{range .Rules}}<tr{{if .Broken}} class="bad"{{else if not .Judged}} class="idle"{{end}}><td>{{.Rule}}</td><td>{{.Verdict}}</td></tr>
{{end}}</table>
<h2>Cases</h2>
<table>
<tr><th>Case</th><th>Rules</th><th>Time</th><th>Result</th></tr>
{{range .Results}}<tr{{if .Failed}} class="bad"{{else if .Skipped}} class="idle"{{end}}><td>{{.Case}}</td><td>{{range .Case.Rules}}{{.}} {{end}}</td><td>{{round .Duration}}</td><td>
{{- if .Failed}}{{range .Findings}}<p><b>{{.Rule}}</b> {{.What}}</p>{{end}}{{else if .Skipped}}not run: {{.Skipped}}{{else}}ok{{end}}
{{- $f := .Figures}}{{range names $f}}<br>{{.}} {{index $f . | printf "%.2f"}}{{end}}</td></tr>
{{end}}</table>
</html>
`))

// WriteHTML writes the report as a page.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r) }
