package main

import (
	"os"
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	f, err := parse(`syntax = "proto3";
package x;
// S is a service.
service S {
  // Ask asks.
  // Twice.
  rpc Ask(AskRequest) returns (stream Answer);
}
// AskRequest is a question.
message AskRequest {
  // Color is inside.
  enum Color {
    // Not set.
    COLOR_UNSPECIFIED = 0;
  }
  // The color.
  repeated Color color = 1;
}
// Empty has nothing.
message Empty {}
// Answer is one.
message Answer {
  // What it is.
  oneof what {
    // Words.
    string words = 1;
  }
}
`)
	if err != nil {
		t.Fatal(err)
	}
	got := f.markdown()
	for _, want := range []string{
		"## Ask\n\nAsk asks. Twice.\n\nTakes one [AskRequest](#askrequest), answers a stream of [Answer](#answer).",
		"| `color` | repeated [AskRequest.Color](#askrequestcolor) | The color. |",
		"| `COLOR_UNSPECIFIED` | 0 | Not set. |",
		"| `words` | `string` | Words. *(one of `what`)* |",
		"### Empty\n\nEmpty has nothing.\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant it to contain\n%s", got, want)
		}
	}
	for _, broken := range []string{"message X {\n", "}\n", "message X {\n  something else;\n}\n"} {
		if _, err := parse(broken); err == nil {
			t.Errorf("parse(%q) found nothing wrong", broken)
		}
	}
}

// Every call and every field has a comment, and the page is up to date.
func TestConsensus(t *testing.T) {
	text, err := os.ReadFile("../consensus.proto")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range f.rpcs {
		if r.comment == "" {
			t.Errorf("%s has no comment", r.name)
		}
	}
	for _, d := range f.types {
		for _, m := range d.members {
			if m.comment == "" {
				t.Errorf("%s.%s has no comment", d.name, m.name)
			}
		}
	}
	page, err := os.ReadFile("../../../docs/plugins/rpc.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != f.markdown() {
		t.Error("docs/plugins/rpc.md is not what consensus.proto says: run make generate")
	}
}
