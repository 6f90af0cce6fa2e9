package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSources(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	tests := []struct {
		name    string
		source  source
		want    []string
		wantErr string
	}{
		{"values as they are", valuesOf([]string{"a", "", "b\nc"}), []string{"a", "", "b\nc"}, ""},
		{"lines", linesOf(strings.NewReader("a\n\nb\r\nc")), []string{"a", "", "b", "c"}, ""},
		{"nothing", linesOf(strings.NewReader("")), nil, ""},
		{"a long line", linesOf(strings.NewReader("a\n" + long + "\n")), []string{"a"}, "line 2 of the input is longer than 16 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			err := tt.source(t.Context(), func(v string) { got = append(got, v) })
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || err.Error() != tt.wantErr) {
				t.Errorf("got error %v, want %q", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A terminal that says nothing more does not hold up an interruption.
func TestLinesInterrupted(t *testing.T) {
	terminal, keyboard := io.Pipe()
	defer keyboard.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	go func() { _, _ = keyboard.Write([]byte("typed\n")) }() // the reader is there
	var got []string
	err := linesOf(terminal)(ctx, func(v string) {
		got = append(got, v)
		interrupt()
	})
	if err != nil || len(got) != 1 || got[0] != "typed" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRecord(t *testing.T) {
	tests := []struct {
		name       string
		flags      produceFlags
		line       string
		key, value string
		noKey      bool
		partition  int32
	}{
		{name: "a value", flags: produceFlags{partition: -1}, line: "k:v", value: "k:v", noKey: true},
		{name: "a key for all", flags: produceFlags{partition: 2, key: "k"}, line: "v", key: "k", value: "v", partition: 2},
		{name: "key and value", flags: produceFlags{keyDelimiter: ":"}, line: "k:v:w", key: "k", value: "v:w"},
		{name: "an empty key", flags: produceFlags{keyDelimiter: ":"}, line: ":v", value: "v"},
		{name: "no delimiter in the line", flags: produceFlags{keyDelimiter: ":"}, line: "v", value: "v", noKey: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.flags.record(tt.line)
			if string(r.Key) != tt.key || string(r.Value) != tt.value || (r.Key == nil) != tt.noKey || r.Partition != tt.partition {
				t.Errorf("got key %q (nil: %v), value %q, partition %d", r.Key, r.Key == nil, r.Value, r.Partition)
			}
		})
	}
}
