package workbench

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/quorate/quorate/configs"
)

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// newModule writes a module of two packages that takes a third from a folder.
func newModule(t *testing.T) module {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "own/go.mod", "module example.org/own\n\ngo 1.26\n\nrequire example.org/other v0.0.0\n\nreplace example.org/other => ../other\n")
	write(t, dir, "own/main.go", "package main\n\nimport (\n\t_ \"example.org/other\"\n\n\t\"example.org/own/inner\"\n)\n\nfunc main() { inner.Do() }\n")
	write(t, dir, "own/inner/inner.go", "package inner\n\nfunc Do() {}\n")
	write(t, dir, "other/go.mod", "module example.org/other\n\ngo 1.26\n")
	write(t, dir, "other/other.go", "package other\n")
	return module{filepath.Join(dir, "own")}
}

func TestModule(t *testing.T) {
	m := newModule(t)
	if err := m.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(filepath.Dir(m.dir), "other"), m.dir, filepath.Join(m.dir, "inner")}
	if got, err := m.sources(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("it is made from %v, %v, want %v", got, err, want)
	}
	out := t.TempDir()
	first, err := m.build(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	write(t, m.dir, "main_test.go", "package main\n")
	if again, err := m.build(t.Context(), out); err != nil || again != first {
		t.Errorf("the same source gives %v and %v, %v", first, again, err)
	}
	write(t, m.dir, "inner/inner.go", "package inner\n\nfunc Do() { println() }\n")
	if other, err := m.build(t.Context(), out); err != nil || other.path == first.path || other.sha256 == first.sha256 {
		t.Errorf("another source gives %v and %v, %v", first, other, err)
	}
	write(t, m.dir, "inner/inner.go", "package inner\n\nfunc Do() { nonsense() }\n")
	if _, err := m.build(t.Context(), out); err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("nonsense: %v", err)
	}
	if got, err := m.sources(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Errorf("nonsense is made from %v, %v, want %v", got, err, want)
	}
}

func TestNoModule(t *testing.T) {
	m := newModule(t)
	for name, dir := range map[string]string{
		"holds package inner: name the folder":  filepath.Join(m.dir, "inner"),
		"no such file":                          filepath.Join(m.dir, "nowhere"),
		"is no folder of a Go module: exit sta": t.TempDir(),
	} {
		if err := (module{dir}).check(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want that it %s", dir, err, name)
		}
	}
}

func TestMatters(t *testing.T) {
	tests := []struct {
		name string
		op   fsnotify.Op
		want bool
	}{
		{"group.go", fsnotify.Write, true},
		{"group.go", fsnotify.Create, true},
		{"group.go", fsnotify.Rename, true},
		{"group.go", fsnotify.Remove, true},
		{"go.mod", fsnotify.Write, true},
		{"schema.json", fsnotify.Write, true}, // it may be embedded
		{"group.go", fsnotify.Chmod, false},
		{".group.go.swp", fsnotify.Write, false},
		{"#group.go#", fsnotify.Write, false},
		{"group.go~", fsnotify.Write, false},
		{"group_test.go", fsnotify.Write, false},
	}
	for _, tt := range tests {
		if got := matters(fsnotify.Event{Name: "/somewhere/" + tt.name, Op: tt.op}); got != tt.want {
			t.Errorf("%s of %s: got %v, want %v", tt.op, tt.name, got, tt.want)
		}
	}
}

// A burst of saves is told once, when it is over; folders that are not watched
// any more are not told.
func TestSaves(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	s, err := newSaves()
	if err == nil {
		err = s.watch([]string{one})
	}
	if err == nil {
		err = s.watch([]string{other})
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	toldNothing := func(what string) {
		t.Helper()
		select {
		case <-s.told:
			t.Error(what)
		case <-time.After(3 * quiet):
		}
	}
	write(t, one, "a.go", "")
	toldNothing("a folder that is not watched any more is told")
	for range 5 {
		write(t, other, "a.go", "")
	}
	select {
	case <-s.told:
	case <-time.After(time.Minute):
		t.Fatal("nothing is told")
	}
	toldNothing("a burst is told twice")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The config file is one that a broker takes.
func TestConfigure(t *testing.T) {
	for _, count := range []int{1, 3} {
		numbers := make([]int, count*portsOfNode)
		for i := range numbers {
			numbers[i] = 10000 + i
		}
		nodes := newNodes(count, t.TempDir(), numbers)
		plugin := executable{path: "/opt/plugin", sha256: strings.Repeat("ab", 32)}
		path, err := nodes[0].configure(nodes, plugin, json.RawMessage(`{"profile": "small"}`), "debug")
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := configs.Load(configs.Source{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Consensus.Backend != "external" || cfg.Consensus.External.SHA256 != plugin.sha256 || cfg.Log.Level != "debug" ||
			count == 3 && len(cfg.Cluster.Peers) != 3 || cfg.Listeners[0].Bind != nodes[0].clients {
			t.Errorf("%d nodes: got %+v", count, cfg)
		}
	}
}

func TestPrefixedLines(t *testing.T) {
	var out bytes.Buffer
	l := &lines{w: &out}
	w := l.prefixed("node 1 | ")
	for _, part := range []string{"one\ntw", "o\n", "", "\nthree"} {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
	}
	l.say("what %s says", "it")
	if _, err := io.WriteString(w, strings.Repeat("x", maxLine)); err != nil {
		t.Fatal(err)
	}
	want := "node 1 | one\nnode 1 | two\nnode 1 | \n--- what it says\nnode 1 | three" + strings.Repeat("x", maxLine) + "\n"
	if out.String() != want {
		t.Errorf("got %q", out.String())
	}
}
