package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

func writeRules(b *strings.Builder, r rpc, law map[string]string) error {
	b.WriteString("\n## Rules\n\n")
	for _, id := range r.rules {
		text := law[id]
		if text == "" {
			return fmt.Errorf("contract.md has no rule %s", id)
		}
		fmt.Fprintf(b, "- **%s** %s\n", id, text)
	}
	return nil
}

func (f file) writeErrors(b *strings.Builder, r rpc) error {
	b.WriteString("\n## Errors\n\n")
	if len(r.errors) == 0 {
		b.WriteString("None of the contract's.\n")
		return nil
	}
	outcomes := r.name == "Propose"
	if outcomes {
		b.WriteString("| code | outcome | |\n|---|---|---|\n")
	} else {
		b.WriteString("| code | |\n|---|---|\n")
	}
	codes := f.find("ErrorCode")
	for _, name := range r.errors {
		code := codes.member("ERROR_CODE_" + name)
		if code == nil {
			return fmt.Errorf("there is no error code %s", name)
		}
		outcome, text := outcomeOf(code.comment)
		if outcomes {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, outcome, text)
		} else {
			fmt.Fprintf(b, "| `%s` | %s |\n", name, text)
		}
	}
	return nil
}

// outcomeOf takes the letter off a code's comment that says which outcome it
// comes with.
func outcomeOf(comment string) (outcome, text string) {
	letter, rest, _ := strings.Cut(comment, ": ")
	switch letter {
	case "R":
		outcome = "REJECTED"
	case "U":
		outcome = "UNKNOWN"
	default:
		return "", comment
	}
	return outcome, strings.ToUpper(rest[:1]) + rest[1:]
}

func (d *declared) member(name string) *member {
	if d == nil {
		return nil
	}
	for i := range d.members {
		if d.members[i].name == name {
			return &d.members[i]
		}
	}
	return nil
}

var speakers = map[byte]string{'>': "The host sends", '<': "The plugin sends", '!': "The call fails, with the Error"}

func (r rpc) writeExamples(b *strings.Builder) error {
	for _, e := range r.examples {
		fmt.Fprintf(b, "\n## Example: %s\n", e.title)
		for _, line := range e.lines {
			text, err := pretty(line.json)
			if err != nil {
				return fmt.Errorf("example %q: %w", e.title, err)
			}
			fmt.Fprintf(b, "\n%s\n\n```json\n%s\n```\n", speakers[line.who], text)
		}
	}
	return nil
}

// pretty breaks what is too long for a line.
func pretty(text string) (string, error) {
	if len(text) <= 90 {
		return text, nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(text), "", "  "); err != nil {
		return "", err
	}
	return b.String(), nil
}
