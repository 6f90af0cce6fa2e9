package kit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sampleReport has one result of every kind.
func sampleReport() *Report {
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return &Report{
		Backend: "my-raft", Version: "0.3 <beta>", Contract: "1.0", Front: "binary", SHA256: strings.Repeat("ab", 32), Level: 3, Quick: true, Seed: 7,
		Members: 3, Started: began, Finished: began.Add(90 * time.Second),
		Results: []Result{
			{Case: Case{Number: 4, Name: "sizes", Level: 1, Nodes: 1, Rules: []string{"P7", "P3"}}, Duration: 1500 * time.Millisecond},
			{
				Case: Case{Number: 28, Name: "performance card, one replica", Level: 1, Nodes: 1, Rules: []string{"P3"}}, Duration: time.Second,
				Figures: map[string]float64{"commit_p99_ms": 3.25, "commit_p50_ms": 1},
			},
			{Case: Case{Number: 9, Name: "elections", Level: 2, Nodes: 3, Rules: []string{"T1", "T2"}}, Duration: 4 * time.Second},
			{Case: Case{Number: 26, Name: "an upgrade in place", Level: 1, Nodes: 1, Rules: []string{"V5", "P3"}}, Skipped: "no earlier version was given"},
		},
	}
}

// failedReport is sampleReport with a rule broken twice.
func failedReport() *Report {
	r := sampleReport()
	r.Results[2].Findings = []Finding{{Rule: "T2", What: `replicas 1 & 2 both lead in term "3" <again>`}, {Rule: "kit", What: "a panic\nof two lines"}}
	return r
}

func TestCertificateOf(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*Report)
		level   int
		notRun  int
		wantErr string
	}{
		{name: "passed", change: func(*Report) {}, level: 3, notRun: 1},
		{name: "a backend of one node", change: func(r *Report) {
			r.Members = 1
			r.Results[2].Skipped = "it needs 3 replicas"
		}, level: 1, notRun: 1},
		{name: "a case failed", change: func(r *Report) { *r = *failedReport() }, wantErr: "not every case passed"},
		{name: "a selection", change: func(r *Report) { r.Partial = true }, wantErr: "not every case of the level was run"},
		{name: "nothing was run", change: func(r *Report) { r.Results = r.Results[3:] }, wantErr: "not every case passed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := sampleReport()
			tt.change(r)
			c, err := r.Certificate()
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("got %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || c.Level != tt.level || len(c.NotRun) != tt.notRun || c.Date != "2026-11-23T12:01:30Z" || c.Seed != 7 {
				t.Errorf("got %+v, %v; want level %d and %d that were not run", c, err, tt.level, tt.notRun)
			}
		})
	}
}

func TestReadCertificate(t *testing.T) {
	want, err := sampleReport().Certificate()
	if err != nil {
		t.Fatal(err)
	}
	path := CertificatePath(filepath.Join(t.TempDir(), "my-raft-bin"), "my-raft")
	if _, err := ReadCertificate(path, "my-raft", want.SHA256); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("without a file: %v", err)
	}
	for range 2 { // a certificate replaces an older one
		if err := want.Write(path); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("drafts are left: %v, %v", left, err)
	}
	got, err := ReadCertificate(path, "my-raft", want.SHA256)
	if err != nil || got.Grade() != "3 (quick)" || got.Date != want.Date {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, other := range [][2]string{{"your-raft", want.SHA256}, {"my-raft", strings.Repeat("00", 32)}} {
		if _, err := ReadCertificate(path, other[0], other[1]); err == nil || errors.Is(err, ErrNoCertificate) {
			t.Errorf("for %v: %v", other, err)
		}
	}
	for _, content := range []string{"", "[]", "{}", `{"level": 9}`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := ReadCertificate(path, "", ""); err == nil {
			t.Errorf("%q gives %+v", content, c)
		}
	}
}
