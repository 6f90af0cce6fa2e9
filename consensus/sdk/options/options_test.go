package options

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/quorate/quorate/consensus"
)

type values struct {
	Bytes   int64
	Profile string
	Sync    bool
}

func settings(v *values) *Set {
	s := &Set{}
	s.Int(&v.Bytes, "bytes", 64, 1, 1024, "size of a file")
	s.Choice(&v.Profile, "profile", "lan", []string{"lan", "wan"}, "what to save")
	s.Bool(&v.Sync, "sync", true, "whether to wait for the disk")
	return s
}

func TestRead(t *testing.T) {
	defaults := values{64, "lan", true}
	tests := []struct {
		name, raw string
		want      values
		problems  []consensus.Diagnostic
	}{
		{"nothing", ``, defaults, nil},
		{"blanks", " \n", defaults, nil},
		{"null", `null`, defaults, nil},
		{"an empty object", `{}`, defaults, nil},
		{"all of them", `{"bytes": 1024, "profile": "wan", "sync": false}`, values{1024, "wan", false}, nil},
		{"no object", `[1]`, defaults, []consensus.Diagnostic{{Message: "the options are not a JSON object: json: cannot unmarshal array into Go value of type map[string]json.RawMessage"}}},
		{"every problem", `{"z": 1, "sync": null, "bytes": 1025, "profile": "moon", "a": 2}`, defaults, []consensus.Diagnostic{
			{Path: "bytes", Message: "want a whole number from 1 to 1024, got 1025"},
			{Path: "profile", Message: `want one of lan, wan, got "moon"`},
			{Path: "sync", Message: "want true or false, got null"},
			{Path: "a", Message: "there is no such option; known: bytes, profile, sync"},
			{Path: "z", Message: "there is no such option; known: bytes, profile, sync"},
		}},
		{"a fraction", `{"bytes": 1.5}`, defaults, []consensus.Diagnostic{{Path: "bytes", Message: "want a whole number from 1 to 1024, got 1.5"}}},
		{"a number in quotes", `{"bytes": "5"}`, defaults, []consensus.Diagnostic{{Path: "bytes", Message: `want a whole number from 1 to 1024, got "5"`}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got values
			problems := settings(&got).Read(json.RawMessage(tt.raw))
			if got != tt.want || !slices.Equal(problems, tt.problems) {
				t.Errorf("got %+v, %+v\nwant %+v, %+v", got, problems, tt.want, tt.problems)
			}
		})
	}
}

// A backend without settings takes none.
func TestNoSettings(t *testing.T) {
	if problems := new(Set).Read(nil); problems != nil {
		t.Errorf("nothing: %v", problems)
	}
	want := []consensus.Diagnostic{{Path: "x", Message: "there is no such option, the backend has none"}}
	if problems := new(Set).Read(json.RawMessage(`{"x": 1}`)); !slices.Equal(problems, want) {
		t.Errorf("something: %v, want %v", problems, want)
	}
}

func TestSchema(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal(settings(new(values)).Schema(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
		"properties": map[string]any{
			"bytes":   map[string]any{"type": "integer", "minimum": 1.0, "maximum": 1024.0, "default": 64.0, "description": "size of a file"},
			"profile": map[string]any{"type": "string", "enum": []any{"lan", "wan"}, "default": "lan", "description": "what to save"},
			"sync":    map[string]any{"type": "boolean", "default": true, "description": "whether to wait for the disk"},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestError(t *testing.T) {
	if err := Error([]consensus.Diagnostic{{Path: "x", Message: "better not", Warning: true}}); err != nil {
		t.Errorf("a warning: %v", err)
	}
	err := Error([]consensus.Diagnostic{{Path: "x", Message: "bad"}, {Path: "y", Message: "worse"}})
	if !errors.Is(err, consensus.ErrInvalidArgument) || err.Error() != "invalid argument: options/x: bad\ninvalid argument: options/y: worse" {
		t.Errorf("got %v", err)
	}
}
