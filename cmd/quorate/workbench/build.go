package workbench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is a folder with the main package of a plugin.
type module struct{ dir string }

// executable is what a module was built into.
type executable struct{ path, sha256 string }

// check tells whether there is something to build.
func (m module) check(ctx context.Context) error {
	out, err := m.goCommand(ctx, "list", "-e", "-f", "{{.Name}}", ".").CombinedOutput()
	name := string(bytes.TrimSpace(out))
	switch {
	case err != nil:
		return fmt.Errorf("%s is no folder of a Go module: %w\n%s", m.dir, err, name)
	case name != "main" && name != "": // without a name it does not parse, which the build tells better
		return fmt.Errorf("%s holds package %s: name the folder of the plugin's main package", m.dir, name)
	default:
		return nil
	}
}

// build builds the module into a file in dir. The error is what the compiler says.
// It leaves out the state of the version control, with which the same source would
// give another file.
func (m module) build(ctx context.Context, dir string) (executable, error) {
	path := filepath.Join(dir, "draft")
	cmd := m.goCommand(ctx, "build", "-buildvcs=false", "-o", path, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		return executable{}, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	sum, err := checksum(path)
	if err != nil {
		return executable{}, err
	}
	// Named for its content: nodes that still run the former one keep it.
	built := executable{path: filepath.Join(dir, "plugin-"+sum[:12]), sha256: sum}
	return built, os.Rename(path, built.path)
}

// localPackages prints the folders of packages that somebody may edit: those of
// the module, and of modules that a replace directive takes from a folder.
const localPackages = `{{with .Module}}{{if or .Main (and .Replace (not .Replace.Version))}}{{$.Dir}}{{end}}{{end}}`

// sources returns the folders that the module is made from. One that does not
// parse is listed as far as it goes.
func (m module) sources(ctx context.Context) ([]string, error) {
	out, err := m.goCommand(ctx, "list", "-e", "-deps", "-f", localPackages, ".").Output()
	if err != nil {
		return nil, fmt.Errorf("list what %s is made from: %w", m.dir, err)
	}
	dirs := append(strings.Fields(string(out)), m.dir)
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

func (m module) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = m.dir
	return cmd
}

func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
