package main

import (
	"fmt"
	"regexp"
	"strings"
)

// said is the comment above a call: words, then lines that begin with a label.
type said struct {
	words    string
	rules    []string // of contract.md
	errors   []string // of ErrorCode, without the prefix; empty = none of the contract
	examples []example
}

// example is what is said, and what goes over the wire for it.
type example struct {
	title string
	lines []exampleLine
}

// exampleLine is one message: who says it, and what, in proto3 JSON.
type exampleLine struct {
	who  byte // '>' the host, '<' the plugin, '!' the plugin, with an Error
	json string
}

var exampleText = regexp.MustCompile(`^([><!]) (\{.*\})$`)

// listen splits a call's comment.
func listen(comment []string) (said, error) {
	var s said
	var words []string
	for _, line := range comment {
		label, rest, _ := strings.Cut(line, ": ")
		switch m := exampleText.FindStringSubmatch(line); {
		case line == "":
		case label == "Rules":
			s.rules = strings.Fields(rest)
		case label == "Errors" && rest == "none":
		case label == "Errors":
			s.errors = strings.Fields(rest)
		case label == "Example":
			s.examples = append(s.examples, example{title: rest})
		case m != nil && len(s.examples) > 0:
			e := &s.examples[len(s.examples)-1]
			e.lines = append(e.lines, exampleLine{m[1][0], m[2]})
		case len(s.rules) > 0 || len(s.errors) > 0 || len(s.examples) > 0:
			return s, fmt.Errorf("cannot read %q after Rules, Errors and Example", line)
		default:
			words = append(words, line)
		}
	}
	s.words = strings.Join(words, " ")
	return s, nil
}

var (
	ruleLine = regexp.MustCompile(`^- \*\*(\w+)\*\* (?:\(capability\) )?(.*)$`)
	moreLine = regexp.MustCompile(`^  (\S.*)$`)
)

// rules reads the text of every rule out of contract.md.
func rules(contract string) map[string]string {
	found, last := map[string]string{}, ""
	for line := range strings.Lines(contract) {
		line = strings.TrimRight(line, "\n")
		if m := ruleLine.FindStringSubmatch(line); m != nil {
			last = m[1]
			found[last] = m[2]
		} else if m := moreLine.FindStringSubmatch(line); m != nil && last != "" {
			found[last] += " " + m[1]
		} else {
			last = ""
		}
	}
	return found
}
