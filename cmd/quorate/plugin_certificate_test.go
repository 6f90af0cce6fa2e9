package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus/consensustest/kit"
)

func TestWarnUncertified(t *testing.T) {
	plugin := filepath.Join(t.TempDir(), "my-raft-1.2")
	if err := os.WriteFile(plugin, []byte("a plugin"), 0o700); err != nil {
		t.Fatal(err)
	}
	sum, err := sumOf(plugin)
	if err != nil {
		t.Fatal(err)
	}
	good := kit.Certificate{Backend: "my-raft", SHA256: sum, Level: 3}
	tests := []struct {
		name        string
		certificate *kit.Certificate
		backend     string
		want        string
		grade       string
	}{
		{"no certificate", nil, "external", "level=WARN msg=\"the consensus plugin is not certified\"", "-"},
		{"one of another executable", &kit.Certificate{Backend: "my-raft", SHA256: strings.Repeat("00", 32), Level: 3}, "external", "another executable", "-"},
		{"a low level", &kit.Certificate{Backend: "my-raft", SHA256: sum, Level: 1}, "external", "certified to a low level only", "1"},
		{"a good one", &good, "external", "level=INFO msg=\"the consensus plugin is certified\"", "3"},
		{"a built-in backend", nil, "etcd-raft", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.certificate != nil {
				if err := tt.certificate.Write(certificateIn(filepath.Dir(plugin), plugin, "my-raft")); err != nil {
					t.Fatal(err)
				}
			}
			var logged bytes.Buffer
			warnUncertified(configs.Consensus{Backend: tt.backend, External: configs.External{Path: plugin}}, "my-raft", slog.New(slog.NewTextHandler(&logged, nil)))
			if !strings.Contains(logged.String(), tt.want) || (tt.want == "") != (logged.Len() == 0) {
				t.Errorf("got %q, want %q", logged.String(), tt.want)
			}
			if tt.grade == "" {
				return
			}
			if grade, problem := gradeOf(plugin, "my-raft", sum); grade != tt.grade || (problem != "") != strings.Contains(tt.name, "another") {
				t.Errorf("listed with level %q, %q; want %q", grade, problem, tt.grade)
			}
		})
	}
}
