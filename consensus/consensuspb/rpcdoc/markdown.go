package main

import (
	"fmt"
	"strings"
)

const preface = `# The calls

<!-- Generated from consensus/consensuspb/consensus.proto; change that, and run: make generate -->

The service is ` + "`consensus.v1.Consensus`" + `. The broker is the client of every call. Rules
in brackets, such as P3, are in [contract.md](contract.md); the numbers of fields are in
the .proto, which is the truth.

A unary call fails with a gRPC status that carries an [Error](#error) as a detail; in
streams errors go in-band where a message has room for one. A call that a plugin does not
offer is answered UNIMPLEMENTED.
`

// markdown is the page.
func (f file) markdown() string {
	var b strings.Builder
	b.WriteString(preface)
	used := map[string]bool{}
	for _, r := range f.rpcs {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n%s\n", r.name, r.comment, r.shape())
		for _, t := range []string{r.request, r.response} {
			if d := f.find(t); d != nil && !used[t] && d.belongsTo(r) {
				used[t] = true
				f.write(&b, "###", d)
			}
		}
	}
	b.WriteString("\n## Messages and enums\n")
	for _, d := range f.types {
		if !used[d.name] {
			f.write(&b, "###", d)
		}
	}
	return b.String()
}

// belongsTo reports whether a message is that of one call alone, by its name.
func (d *declared) belongsTo(r rpc) bool {
	return strings.HasPrefix(d.name, r.name) || d.name == r.name+"Request" || d.name == r.name+"Response"
}

func (r rpc) shape() string {
	request, response := link(r.request), link(r.response)
	switch r.streams {
	case "client":
		return fmt.Sprintf("Takes a stream of %s, answers one %s.", request, response)
	case "server":
		return fmt.Sprintf("Takes one %s, answers a stream of %s.", request, response)
	case "both":
		return fmt.Sprintf("Takes a stream of %s, answers a stream of %s; neither waits for the other.", request, response)
	default:
		return fmt.Sprintf("Takes %s, answers %s.", request, response)
	}
}

func (f file) find(name string) *declared {
	for _, d := range f.types {
		if d.name == name {
			return d
		}
	}
	return nil
}

func (f file) write(b *strings.Builder, heading string, d *declared) {
	fmt.Fprintf(b, "\n%s %s\n\n%s\n", heading, d.name, d.comment)
	if len(d.members) == 0 {
		return
	}
	if d.enum {
		b.WriteString("\n| value | number | |\n|---|---|---|\n")
	} else {
		b.WriteString("\n| field | type | |\n|---|---|---|\n")
	}
	for _, m := range d.members {
		if d.enum {
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", m.name, m.number, m.comment)
			continue
		}
		comment := m.comment
		if m.oneof != "" {
			comment += " *(one of `" + m.oneof + "`)*"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", m.name, f.kindOf(d, m), comment)
	}
}

// kindOf links the types that are declared here; an inner one hides an outer one.
func (f file) kindOf(d *declared, m member) string {
	modifier, kind := "", m.kind
	if before, after, ok := strings.Cut(m.kind, " "); ok && !strings.HasPrefix(m.kind, "map<") {
		modifier, kind = before+" ", after
	}
	for _, name := range []string{d.name + "." + kind, kind} {
		if f.find(name) != nil {
			return modifier + link(name)
		}
	}
	return "`" + modifier + kind + "`"
}

// link points at a heading, by the rule that renderers of Markdown share.
func link(name string) string {
	return fmt.Sprintf("[%s](#%s)", name, strings.ReplaceAll(strings.ToLower(name), ".", ""))
}
