//go:build integration

package thirdparty

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestPluginNew does what `quorate plugin new` tells its user to do next, in a
// folder outside the repository: what it writes must build, pass its own tests,
// and be judged good, before anybody has changed a line.
func TestPluginNew(t *testing.T) {
	dir := t.TempDir()
	out := command(t, dir, nil, binary, "plugin", "new", "my-raft", "--source", root(t))
	_, next, found := strings.Cut(out, "Next:\n\n")
	if !found {
		t.Fatalf("plugin new does not say what is next:\n%s", out)
	}
	inside := dir
	for line := range strings.SplitSeq(next, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case words[0] == "cd":
			inside = filepath.Join(inside, words[1])
		case words[0] == "quorate":
			verified(t, inside, append(words[1:], "--quick")...)
		default:
			command(t, inside, nil, words[0], words[1:]...)
		}
	}
	if inside == dir {
		t.Errorf("plugin new does not say where to go:\n%s", out)
	}
	command(t, inside, nil, "go", "vet", "./...")
	if unformatted := command(t, inside, nil, "gofmt", "-l", "."); unformatted != "" {
		t.Errorf("gofmt wants to change %s", unformatted)
	}
}

// verified runs `quorate plugin verify` in a folder, and shows its report.
func verified(t *testing.T, dir string, args ...string) {
	t.Helper()
	if args[0] != "plugin" || args[1] != "verify" {
		t.Fatalf("quorate %s is no verification", strings.Join(args, " "))
	}
	t.Log(command(t, dir, nil, binary, args...))
}
