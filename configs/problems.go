package configs

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Problem is one thing that is wrong.
type Problem struct {
	// Line and Column are the place in the file, from 1; zero if it is not in the file.
	Line, Column int
	// Source is where else it comes from: "environment variable X", "flag --y"; or empty.
	Source string
	Key    string
	// Message is a sentence that begins with the key.
	Message string
}

// Problems is everything that is wrong with a configuration. Its text is meant for
// the operator, as it is.
type Problems struct {
	File string // as it was given; empty if there is none
	List []Problem
}

// Error returns a headline, a line for each problem, and what to do next.
func (p *Problems) Error() string {
	var b strings.Builder
	name := cmp.Or(p.name(), "configuration")
	noun := "problems"
	if len(p.List) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(&b, "%s: %d %s\n", name, len(p.List), noun)
	for _, q := range p.List {
		switch {
		case q.Source != "":
			fmt.Fprintf(&b, "%s: %s\n", q.Source, q.Message)
		case q.Line > 0:
			fmt.Fprintf(&b, "%s:%d:%d: %s\n", name, q.Line, q.Column, q.Message)
		default:
			fmt.Fprintf(&b, "%s: %s\n", name, q.Message)
		}
	}
	b.WriteString("nothing was started")
	if p.File != "" {
		fmt.Fprintf(&b, "; check again with: quorate config validate %s", p.File)
	}
	return b.String()
}

// name is the file as error lines have it, so that editors find it.
func (p *Problems) name() string {
	if p.File == "" {
		return ""
	}
	return filepath.Clean(p.File)
}

// sorted puts the problems of the file first, in its order.
func (p *Problems) sorted() *Problems {
	slices.SortStableFunc(p.List, func(a, b Problem) int {
		return cmp.Or(
			strings.Compare(a.Source, b.Source),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	return p
}
