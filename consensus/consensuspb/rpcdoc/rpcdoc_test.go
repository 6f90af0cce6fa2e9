package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/quorate/quorate/consensus/consensuspb"
)

const (
	protoFile    = "../consensus.proto"
	contractFile = "../../../docs/plugins/contract.md"
	pagesDir     = "../../../docs/plugins/rpc"
)

const sample = `syntax = "proto3";
package x;
// S is a service.
service S {
  // Ask asks.
  // Twice.
  //
  // Rules: T1 LEARNERS
  // Errors: LATE
  // Example: about nothing
  //   > {}
  //   < {"words": "a"}
  //   ! {"code": "ERROR_CODE_LATE"}
  rpc Ask(AskRequest) returns (stream Answer);
  // Tell tells.
  //
  // Rules: T1
  // Errors: none
  // Example: nothing
  //   > {}
  rpc Tell(Shared) returns (Answer);
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
  // What is shared.
  Shared shared = 2;
}
// Shared has nothing.
message Shared {}
// Answer is one.
message Answer {
  // What it is.
  oneof what {
    // Words.
    string words = 1;
  }
}
// ErrorCode is why not.
enum ErrorCode {
  // R: too late.
  ERROR_CODE_LATE = 1;
}
`

var law = rules("- **T1** It MUST\n  hold.\n\nNothing.\n  More.\n- **LEARNERS** (capability) Learn.\n")

func TestPages(t *testing.T) {
	f, err := parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := f.pages(law)
	if err != nil {
		t.Fatal(err)
	}
	for page, wants := range map[string][]string{
		"Ask.md": {
			"# Ask\n\n" + mark + "\n\nAsk asks. Twice.\n\nTakes one [AskRequest](#askrequest), answers a stream of [Answer](#answer).",
			"| `color` | repeated [AskRequest.Color](#askrequestcolor) | The color. |",
			"| `shared` | [Shared](messages.md#shared) | What is shared. |",
			"| `COLOR_UNSPECIFIED` | 0 | Not set. |",
			"| `words` | `string` | Words. *(one of `what`)* |",
			"## Rules\n\n- **T1** It MUST hold.\n- **LEARNERS** Learn.\n",
			"| `LATE` | Too late. |",
			"## Example: about nothing\n\nThe host sends\n\n```json\n{}\n```\n\nThe plugin sends\n\n```json\n{\"words\": \"a\"}\n```\n\nThe call fails",
		},
		"Tell.md":    {"## Errors\n\nNone of the contract's.\n", "## Shared\n\nShared has nothing.\n\nIt has no fields.\n"},
		indexPage:    {"| [Ask](Ask.md) | Ask asks. Twice. | T1, LEARNERS |\n| [Tell](Tell.md) | Tell tells. | T1 |"},
		messagesPage: {"## Shared\n", "## Answer\n", "## ErrorCode\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(pages[page], want) {
				t.Errorf("got %s\n%s\nwant it to contain\n%s", page, pages[page], want)
			}
		}
	}
}

func TestBroken(t *testing.T) {
	for name, broken := range map[string]string{
		"not closed":         "message X {\n",
		"nothing open":       "}\n",
		"no field":           "message X {\n  something else;\n}\n",
		"words after labels": strings.Replace(sample, "// Errors: LATE", "// Errors: LATE\n  // and so on", 1),
	} {
		if _, err := parse(broken); err == nil {
			t.Errorf("%s: parse found nothing wrong", name)
		}
	}
	for name, broken := range map[string]string{
		"no such rule": strings.Replace(sample, "Rules: T1 ", "Rules: T9 ", 1),
		"no such code": strings.Replace(sample, "Errors: LATE", "Errors: EARLY", 1),
		"no json":      strings.Replace(sample, "> {}", "> {"+strings.Repeat("x", 90)+"}", 1),
	} {
		f, err := parse(broken)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := f.pages(law); err == nil {
			t.Errorf("%s: pages found nothing wrong", name)
		}
	}
}

func consensusFile(t *testing.T) file {
	t.Helper()
	text, err := os.ReadFile(protoFile)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Every call says all that a page needs, and every field has a comment.
func TestEverythingIsSaid(t *testing.T) {
	f := consensusFile(t)
	for _, r := range f.rpcs {
		if r.words == "" || len(r.rules) == 0 || len(r.examples) == 0 {
			t.Errorf("%s lacks words, rules or an example", r.name)
		}
	}
	for _, d := range f.types {
		for _, m := range d.members {
			if m.comment == "" {
				t.Errorf("%s.%s has no comment", d.name, m.name)
			}
		}
	}
}

// Every rule of the contract is on the page of a call, but for V3, which is a
// promise of the broker.
func TestEveryRuleIsNamed(t *testing.T) {
	contract, err := os.ReadFile(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	unnamed := rules(string(contract))
	delete(unnamed, "V3")
	for _, r := range consensusFile(t).rpcs {
		for _, id := range r.rules {
			delete(unnamed, id)
		}
	}
	if len(unnamed) > 0 {
		t.Errorf("no call names the rules %v", slices.Sorted(maps.Keys(unnamed)))
	}
}

// The examples are messages of the service as it is: no field of them is unknown.
func TestExamplesAreMessages(t *testing.T) {
	methods := consensuspb.File_consensus_consensuspb_consensus_proto.Services().Get(0).Methods()
	failure := (&consensuspb.Error{}).ProtoReflect().Descriptor()
	for _, r := range consensusFile(t).rpcs {
		method := methods.ByName(protoreflect.Name(r.name))
		kinds := map[byte]protoreflect.MessageDescriptor{'>': method.Input(), '<': method.Output(), '!': failure}
		for _, e := range r.examples {
			for _, line := range e.lines {
				m := dynamicpb.NewMessage(kinds[line.who])
				if err := protojson.Unmarshal([]byte(line.json), m); err != nil {
					t.Errorf("%s, %s: %c %s: %v", r.name, e.title, line.who, line.json, err)
				}
				code := errorCode(m)
				if code != "" && !slices.Contains(r.errors, code) {
					t.Errorf("%s, %s: the code %s is not among its errors", r.name, e.title, code)
				}
			}
		}
	}
}

// errorCode is the code of an Error, or of the one in the outcome of a proposal.
func errorCode(m *dynamicpb.Message) string {
	text := protojson.MarshalOptions{UseProtoNames: true}.Format(m)
	_, after, ok := strings.Cut(text, "ERROR_CODE_")
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(after, `"`)
	return code
}

// What is checked in is what the .proto says, no page more and none less.
func TestUpToDate(t *testing.T) {
	want, err := read(protoFile, contractFile)
	if err != nil {
		t.Fatal(err)
	}
	got, err := filepath.Glob(filepath.Join(pagesDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range got {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		if string(text) != want[name] {
			t.Errorf("%s is not what consensus.proto says: run make generate", path)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is missing in %s: run make generate", name, pagesDir)
	}
}

// A page of a call that is no more goes; what somebody wrote by hand stays.
func TestGenerateRemovesOldPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rpc")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"Gone.md": "# Gone\n\n" + mark + "\n", "notes.md": "# Notes\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := generate(protoFile, contractFile, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "Gone.md")); !os.IsNotExist(err) {
		t.Errorf("Gone.md is still there (%v)", err)
	}
	for _, name := range []string{"notes.md", "Propose.md", indexPage} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
