// Command rpcdoc writes docs/plugins/rpc from the comments of consensus.proto: a
// page per call, one for the messages that several calls share, and an index. It
// reads the file's text, one line after the other, and relies on the way it is
// formatted: one declaration a line, its comment above it. The rules that a call
// names are quoted from contract.md.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mark is in every page that was generated, and in no other.
const mark = "<!-- Generated from consensus/consensuspb/consensus.proto; change that, and run: make generate -->"

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: rpcdoc FILE.proto CONTRACT.md DIR")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "rpcdoc:", err)
		os.Exit(1)
	}
}

func generate(from, contract, dir string) error {
	pages, err := read(from, contract)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := removeOld(dir, pages); err != nil {
		return err
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// read returns the pages by file name.
func read(from, contract string) (map[string]string, error) {
	text, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	law, err := os.ReadFile(contract)
	if err != nil {
		return nil, err
	}
	f, err := parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	pages, err := f.pages(rules(string(law)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return pages, nil
}

// removeOld removes generated pages of calls that are no more.
func removeOld(dir string, pages map[string]string) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	for _, path := range old {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, again := pages[filepath.Base(path)]; again || !strings.Contains(string(text), mark) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}
