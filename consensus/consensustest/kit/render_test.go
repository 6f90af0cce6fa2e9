package kit

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is printed into testdata; read the diff")

// Every form of a report, as it was when somebody last looked at it.
func TestReportGolden(t *testing.T) {
	for name, write := range map[string]func(*Report, io.Writer) error{
		"json":  (*Report).WriteJSON,
		"xml":   (*Report).WriteJUnit,
		"html":  (*Report).WriteHTML,
		"table": func(r *Report, w io.Writer) error { _, err := io.WriteString(w, r.Text()); return err },
	} {
		for kind, report := range map[string]*Report{"passed": sampleReport(), "failed": failedReport()} {
			t.Run(kind+"."+name, func(t *testing.T) {
				var got bytes.Buffer
				if err := write(report, &got); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join("testdata", kind+"."+name)
				if *update {
					if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got.Bytes(), want) {
					t.Errorf("got\n%s\nwant what is in %s", got.Bytes(), path)
				}
			})
		}
	}
}

// A program must find in the JSON what it decides by, and a case for each that was asked for.
func TestReportJSON(t *testing.T) {
	for _, report := range []*Report{sampleReport(), failedReport(), {Backend: "empty"}} {
		var b bytes.Buffer
		if err := report.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Passed *bool `json:"passed"`
			Rules  []struct {
				Rule   string
				Judged int
				Broken []string `json:"broken_in"`
				NotRun []string `json:"not_run"`
			}
			Cases []struct {
				Number   int
				Status   string
				NotRun   string `json:"not_run"`
				Findings []Finding
			}
		}
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Passed == nil || *got.Passed != report.Passed() || len(got.Cases) != len(report.Results) {
			t.Errorf("passed %v, %d cases; want %v, %d", got.Passed, len(got.Cases), report.Passed(), len(report.Results))
		}
		for i, c := range got.Cases {
			want := report.Results[i]
			if (c.Status == "failed") != want.Failed() || (c.Status == "not_run") != (c.NotRun != "") || len(c.Findings) != len(want.Findings) {
				t.Errorf("%s is written as %+v", want.Case, c)
			}
		}
		for _, r := range got.Rules {
			if r.Judged == 0 && len(r.NotRun) == 0 && len(r.Broken) == 0 {
				t.Errorf("nothing is said of rule %s", r.Rule)
			}
		}
	}
}

// What CI systems read of JUnit's XML must be there, and add up.
func TestReportJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := failedReport().WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	type testcase struct {
		Name     string     `xml:"name,attr"`
		Class    string     `xml:"classname,attr"`
		Failures []struct{} `xml:"failure"`
		Skipped  []struct{} `xml:"skipped"`
	}
	var got struct {
		XMLName xml.Name
		Suites  []struct {
			Tests    int        `xml:"tests,attr"`
			Failures int        `xml:"failures,attr"`
			Skipped  int        `xml:"skipped,attr"`
			Cases    []testcase `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.XMLName.Local != "testsuites" || len(got.Suites) != 1 || got.Suites[0].Tests != 4 {
		t.Fatalf("got %+v", got)
	}
	suite, failures, skipped := got.Suites[0], 0, 0
	for _, c := range suite.Cases {
		failures, skipped = failures+len(c.Failures), skipped+len(c.Skipped)
		if c.Name == "" || c.Class == "" || len(c.Failures) > 1 {
			t.Errorf("%+v", c)
		}
	}
	if failures != suite.Failures || failures != 1 || skipped != suite.Skipped || skipped != 1 {
		t.Errorf("%d failures and %d skipped, the suite says %d and %d", failures, skipped, suite.Failures, suite.Skipped)
	}
}

var (
	fetched = regexp.MustCompile(`(?i)https?://|<link|<script|<img|<iframe|@import|url\(|\ssrc=`)
	opening = regexp.MustCompile(`<(table|tr|td|th|p|b|h1|h2|html|style|code|title)[ >]`)
	closing = regexp.MustCompile(`</(table|tr|td|th|p|b|h1|h2|html|style|code|title)>`)
)

// The page must be whole, fetch nothing, and show what a backend says as text.
func TestReportHTML(t *testing.T) {
	var b bytes.Buffer
	if err := failedReport().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if found := fetched.FindString(got); found != "" {
		t.Errorf("the page fetches something: %q", found)
	}
	if strings.Contains(got, "<beta>") || strings.Contains(got, "<again>") || !strings.Contains(got, "&lt;again&gt;") {
		t.Errorf("what a backend says is not escaped:\n%s", got)
	}
	count := map[string]int{}
	for _, m := range opening.FindAllStringSubmatch(got, -1) {
		count[m[1]]++
	}
	for _, m := range closing.FindAllStringSubmatch(got, -1) {
		count[m[1]]--
	}
	for tag, n := range count {
		if n != 0 {
			t.Errorf("%d more <%s> are opened than closed", n, tag)
		}
	}
}
