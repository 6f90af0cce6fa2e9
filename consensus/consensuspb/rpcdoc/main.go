// Command rpcdoc writes docs/plugins/rpc.md from the comments of consensus.proto:
// a section per call, then what the calls have in common. It reads the file's text,
// one line after the other, and relies on the way it is formatted: one declaration
// a line, its comment above it.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: rpcdoc FILE.proto FILE.md")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "rpcdoc:", err)
		os.Exit(1)
	}
}

func generate(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return os.WriteFile(to, []byte(f.markdown()), 0o644)
}
