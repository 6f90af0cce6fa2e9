package arch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHouse(t *testing.T) {
	tree, err := Read("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 10 {
		t.Fatalf("found %d packages; is this the root of the module?", len(tree.Packages))
	}
	for _, v := range Check(tree) {
		t.Error(v)
	}
}

// Every rule forbids its own example, and names the reason.
func TestRulesFail(t *testing.T) {
	for _, r := range Rules {
		t.Run(r.Name, func(t *testing.T) {
			tree := Tree{Imports: []Import{{From: r.Example[0], To: r.Example[1], Where: "example.go:1"}}}
			got := strings.Join(Check(tree), "\n")
			if !strings.Contains(got, r.Because) {
				t.Errorf("%s importing %s: got %q, want a violation that says %q", r.Example[0], r.Example[1], got, r.Because)
			}
		})
	}
}

func TestFloors(t *testing.T) {
	tests := []struct {
		from, to string
		want     bool
	}{
		{"core/replica", "core/wal", false},
		{"core/wal", "core/replica", true},
		{"core/wal", "core/metadata", true}, // neighbours do not know each other
		{"core", "core/api", false},
		{"core/api", "core", true},
		{"plugins/solo", "consensus/sdk", false},
		{"plugins/solo", "consensus", false},
		{"consensus/sdk", "plugins/solo", true},
		{"plugins/etcdraft", "plugins/seglog", false},
		{"plugins/etcdraft", "plugins/hashicorpraft", true},
		{"cmd/quorate", "core", false},
		{"configs", "cmd/quorate", true},
		{"test/cluster", "cmd/quorate", false},
		{"core/api", "net/http", false},
	}
	for _, tt := range tests {
		if got := climbs(tt.from, tt.to); got != tt.want {
			t.Errorf("climbs(%s, %s) = %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
}

// A tree on disk with one violation of each kind is read and reported.
func TestReadsTheTree(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "core/wal/wal.go"), "package wal\n\nimport _ \""+Module+"/core/api\"\n")
	write(t, filepath.Join(root, "core/api/api.go"), "// Package api is commented.\npackage api\n")
	write(t, filepath.Join(root, "elsewhere/go.mod"), "module x\n")
	write(t, filepath.Join(root, "elsewhere/x.go"), "package x\n")
	tree, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(Check(tree), "\n")
	for _, want := range []string{"core/wal must not import core/api", "core/wal: 0 package comments"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want it to contain %q", got, want)
		}
	}
	if strings.Contains(got, "elsewhere") || strings.Contains(got, "core/api: ") {
		t.Errorf("got %q, want nothing about elsewhere or core/api", got)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
