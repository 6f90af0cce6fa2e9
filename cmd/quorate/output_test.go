package main

import (
	"strings"
	"testing"
)

func TestPrint(t *testing.T) {
	type row struct {
		Name    string  `json:"name"`
		Members []int32 `json:"members"`
	}
	value := []row{{"orders", []int32{1, 2, 3}}, {"x", nil}}
	rows := [][]any{{"orders", 12, ids(value[0].Members)}, {"x", 3, ""}}
	tests := []struct {
		format, want string
	}{
		{"table", "NAME    COUNT  MEMBERS\norders     12  1,2,3\nx           3\n"},
		{"json", "[\n  {\n    \"name\": \"orders\",\n    \"members\": [\n      1,\n      2,\n      3\n    ]\n  },\n  {\n    \"name\": \"x\",\n    \"members\": null\n  }\n]\n"},
		{"yaml", "- members:\n    - 1\n    - 2\n    - 3\n  name: orders\n- members: null\n  name: x\n"},
	}
	for _, tt := range tests {
		t.Run(tt.format, func(t *testing.T) {
			var out strings.Builder
			o := output{format: tt.format}
			if err := o.print(&out, value, []string{"name", "count", "members"}, rows); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != tt.want {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

func TestOneOf(t *testing.T) {
	if err := oneOf("output", "json", "table", "json", "yaml"); err != nil {
		t.Error(err)
	}
	err := oneOf("output", "xml", "table", "json", "yaml")
	if want := `--output is "xml", which is not table, json or yaml`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}

// Every command explains itself: what it does, what it takes, and every flag.
func TestHelp(t *testing.T) {
	for _, cmd := range allBelow(newRoot()) {
		if cmd.Short == "" && cmd.Name() != "help" {
			t.Errorf("%s does not say what it does", cmd.CommandPath())
		}
		usage := cmd.UsageString()
		for _, untidy := range []string{"[=true|false]", "[flags] [flags]", "\n\n\n", " \n", "(default [])"} {
			if strings.Contains(usage, untidy) {
				t.Errorf("%s: %q in\n%s", cmd.CommandPath(), untidy, usage)
			}
		}
	}
}
