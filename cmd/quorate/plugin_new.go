package main

import (
	"bytes"
	"embed"
	"fmt"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/plugins/solo"
)

// newModule is what a new plugin's files are made from.
type newModule struct {
	Name    string // my-raft
	Package string // myraft
	Module  string // example.org/my-raft
	Version string // of Quorate, that the module requires
	Source  string // the folder of Quorate's repository; empty: a released version
	Dir     string
}

func newPluginNew() *cobra.Command {
	var m newModule
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a module with a backend that works, to begin with",
		Long: `Write a module with a backend that works, to begin with: a copy of solo, which
keeps its log on one disk, with a main and a test that calls the conformance kit.`,
		Example: `  quorate plugin new my-raft
  quorate plugin new my-raft --module example.com/team/my-raft --dir ~/src/my-raft`,
		Args: arguments(1, 1),
	}
	cmd.Flags().StringVar(&m.Module, "module", "", "the module's `path` (default example.org/NAME)")
	cmd.Flags().StringVar(&m.Dir, "dir", "", "the `folder` to make (default ./NAME)")
	cmd.Flags().StringVar(&m.Source, "source", "", "the `folder` of Quorate's repository, if the module is to be built with that; found by itself from within it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m.Name = args[0]
		if err := m.complete(); err != nil {
			return err
		}
		if err := m.write(); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is a module with a backend that works. Next:\n\n  cd %s\n  go mod tidy\n  go test ./...\n  go build -o %s .\n  quorate plugin verify ./%[3]s --level 1\n", m.Dir, m.Dir, m.Name)
		return nil
	}
	return cmd
}

// pluginName is what a backend may be called: it becomes a file, a folder and a
// word in config files.
var pluginName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

func (m *newModule) complete() error {
	if !pluginName.MatchString(m.Name) || len(m.Name) > 40 {
		return usagef("%q is no name for a plugin: small letters, digits and hyphens, a letter first", m.Name)
	}
	if _, taken := backends[m.Name]; taken || m.Name == "external" || token.IsKeyword(m.Name) {
		return usagef("the name %s is taken", m.Name)
	}
	m.Package = strings.ReplaceAll(m.Name, "-", "")
	if m.Module == "" {
		m.Module = "example.org/" + m.Name
	}
	if m.Dir == "" {
		m.Dir = m.Name
	}
	if entries, err := os.ReadDir(m.Dir); err == nil && len(entries) > 0 {
		return usagef("%s exists and is not empty", m.Dir)
	}
	return m.findQuorate()
}

// findQuorate decides which Quorate the module is built with: a release is
// required by its version, a binary of one's own by its repository.
func (m *newModule) findQuorate() error {
	m.Version = "v0.0.0"
	if m.Source == "" && released.MatchString(versionString()) {
		m.Version = versionString()
		return nil
	}
	if m.Source == "" {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		for ; !isQuorate(dir); dir = filepath.Dir(dir) {
			if dir == filepath.Dir(dir) {
				return usagef("this binary is no release, so that the module needs Quorate's repository: name its folder with --source")
			}
		}
		m.Source = dir
	}
	var err error
	if m.Source, err = filepath.Abs(m.Source); err == nil && !isQuorate(m.Source) {
		return usagef("%s is not the folder of Quorate's repository", m.Source)
	}
	return err
}

var released = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

func isQuorate(dir string) bool {
	content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return err == nil && bytes.HasPrefix(content, []byte("module "+quorateModule+"\n"))
}

const quorateModule = "github.com/quorate/quorate"

//go:embed new/*.tmpl
var newTemplates embed.FS

// write writes the module.
func (m *newModule) write() error {
	files, err := template.ParseFS(newTemplates, "new/*.tmpl")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(m.Dir, m.Package), 0o755); err != nil {
		return err
	}
	for _, t := range files.Templates() {
		var content bytes.Buffer
		if err := t.Execute(&content, m); err != nil {
			return err
		}
		name := filepath.Join(m.Dir, strings.TrimSuffix(t.Name(), ".tmpl"))
		if err := os.WriteFile(name, content.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return fs.WalkDir(solo.Source, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == "source.go" {
			return err
		}
		content, err := solo.Source.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Join(m.Dir, m.Package, strings.Replace(path, "solo", m.Package, 1))
		return os.WriteFile(name, m.rename(content), 0o644)
	})
}

var (
	soloPackage = regexp.MustCompile(`(?m)^((?:// P|p)ackage) solo\b`)
	soloWord    = regexp.MustCompile(`\bsolo\b`)
)

// rename makes solo's source that of the new backend.
func (m *newModule) rename(source []byte) []byte {
	source = soloPackage.ReplaceAll(source, []byte("$1 "+m.Package))
	return soloWord.ReplaceAll(source, []byte(m.Name))
}
