package main

import (
	"fmt"
	"strings"
)

const (
	indexPage    = "README.md"
	messagesPage = "messages.md"
)

const preface = `# The calls

` + mark + `

The service is ` + "`consensus.v1.Consensus`" + `. The broker is the client of every call; what a
plugin has to say goes out on streams that the broker opened. A page says of its call what
it takes and answers, which rules of [contract.md](../contract.md) apply, which codes it
fails with, and shows an example. The numbers of fields are in the .proto, which is the truth.

A unary call fails with a gRPC status that carries an [Error](messages.md#error) as a detail;
in streams errors go in-band where a message has room for one. A call that a plugin does not
offer is answered UNIMPLEMENTED. Examples are proto3 JSON with the names of the .proto:
` + "`bytes`" + ` are base64, 64-bit numbers are strings, and what is 0 or empty is left out.

| call | | rules |
|---|---|---|
`

func (f file) index() string {
	var b strings.Builder
	b.WriteString(preface)
	for _, r := range f.rpcs {
		fmt.Fprintf(&b, "| [%s](%s.md) | %s | %s |\n", r.name, r.name, r.words, strings.Join(r.rules, ", "))
	}
	b.WriteString("\nWhat several of them have in common is in [messages.md](messages.md).\n")
	return b.String()
}

// messages is the page of what no call has for itself.
func (f file) messages(own map[string]string) string {
	var b strings.Builder
	b.WriteString("# Messages and enums\n\n" + mark + "\n\nWhat several [calls](README.md) have in common.\n")
	here := map[string]bool{}
	for _, d := range f.types {
		here[d.name] = own[d.name] == ""
	}
	for _, d := range f.types {
		if here[d.name] {
			f.write(&b, d, here)
		}
	}
	return b.String()
}
