package main

import (
	"fmt"
	"regexp"
	"strings"
)

// file is what is declared in a .proto.
type file struct {
	rpcs  []rpc
	types []*declared // messages and enums, in order, those inside others as Outer.Inner
}

type rpc struct {
	said
	name              string
	request, response string
	streams           string // "", "client", "server" or "both"
}

// declared is a message or an enum.
type declared struct {
	name, comment string
	enum          bool
	members       []member
}

// member is a field or a value.
type member struct {
	name, kind, number, comment, oneof string
}

var (
	rpcLine    = regexp.MustCompile(`^rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\);$`)
	openLine   = regexp.MustCompile(`^(service|message|enum|oneof) (\w+) \{(\})?$`)
	fieldLine  = regexp.MustCompile(`^((?:repeated |optional )?(?:map<\w+, \w+>|\w+)) (\w+) = (\d+);$`)
	valueLine  = regexp.MustCompile(`^(\w+) = (\d+);$`)
	directives = regexp.MustCompile(`^(syntax|package|option|import|reserved)\b`)
)

// parser reads a .proto line by line.
type parser struct {
	file    file
	comment []string
	open    []block // innermost last
}

type block struct {
	kind, name string
	into       *declared // nil for a service
}

func parse(text string) (file, error) {
	p := parser{}
	number := 0
	for raw := range strings.Lines(text) {
		number++
		if err := p.line(strings.TrimSpace(raw)); err != nil {
			return p.file, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if len(p.open) > 0 {
		return p.file, fmt.Errorf("%s is not closed", p.open[len(p.open)-1].name)
	}
	return p.file, nil
}

func (p *parser) line(s string) error {
	switch {
	case strings.HasPrefix(s, "//"):
		p.comment = append(p.comment, strings.TrimSpace(strings.TrimPrefix(s, "//")))
		return nil
	case s == "}":
		if len(p.open) == 0 {
			return fmt.Errorf("nothing is open here")
		}
		p.open = p.open[:len(p.open)-1]
	case s == "" || directives.MatchString(s):
	case openLine.MatchString(s):
		p.begin(openLine.FindStringSubmatch(s))
	default:
		if err := p.declare(s); err != nil {
			return err
		}
	}
	p.comment = nil
	return nil
}

func (p *parser) begin(m []string) {
	kind, name, closed := m[1], m[2], m[3] != ""
	b := block{kind: kind, name: name}
	switch kind {
	case "oneof":
		b.into = p.open[len(p.open)-1].into
	case "message", "enum":
		full := name
		if n := len(p.open); n > 0 {
			full = p.open[n-1].into.name + "." + name
		}
		b.into = &declared{name: full, comment: p.said(), enum: kind == "enum"}
		p.file.types = append(p.file.types, b.into)
	}
	if !closed {
		p.open = append(p.open, b)
	}
}

func (p *parser) declare(s string) error {
	if len(p.open) == 0 {
		return fmt.Errorf("cannot read %q", s)
	}
	b := p.open[len(p.open)-1]
	if m := rpcLine.FindStringSubmatch(s); m != nil && b.kind == "service" {
		text, err := listen(p.comment)
		if err != nil {
			return fmt.Errorf("%s: %w", m[1], err)
		}
		p.file.rpcs = append(p.file.rpcs, rpc{
			said: text, name: m[1], request: m[3], response: m[5],
			streams: map[[2]bool]string{{true, false}: "client", {false, true}: "server", {true, true}: "both"}[[2]bool{m[2] != "", m[4] != ""}],
		})
		return nil
	}
	oneof := ""
	if b.kind == "oneof" {
		oneof = b.name
	}
	if m := fieldLine.FindStringSubmatch(s); m != nil && b.into != nil {
		b.into.members = append(b.into.members, member{name: m[2], kind: m[1], number: m[3], comment: p.said(), oneof: oneof})
		return nil
	}
	if m := valueLine.FindStringSubmatch(s); m != nil && b.kind == "enum" {
		b.into.members = append(b.into.members, member{name: m[1], number: m[2], comment: p.said()})
		return nil
	}
	return fmt.Errorf("cannot read %q", s)
}

// said is the comment above the line.
func (p *parser) said() string { return strings.Join(p.comment, " ") }
