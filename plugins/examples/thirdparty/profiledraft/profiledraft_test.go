package profiledraft

import (
	"encoding/json"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/plugins/etcdraft"
)

func TestConformance(t *testing.T) {
	consensustest.Run(t, consensustest.Config{New: New, Options: json.RawMessage(`{"profile": "small"}`)})
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name, options string
		want          []consensus.Diagnostic
	}{
		{"nothing", ``, nil},
		{"a profile", `{"profile": "wan"}`, nil},
		{"a profile that is not there", `{"profile": "moon"}`, []consensus.Diagnostic{{Path: "profile", Message: `want one of lan, small, wan, got "moon"`}}},
		{"no string", `{"profile": 7}`, []consensus.Diagnostic{{Path: "profile", Message: "want one of lan, small, wan, got 7"}}},
		{"two problems", `{"profile": "moon", "size": 1}`, []consensus.Diagnostic{
			{Path: "profile", Message: `want one of lan, small, wan, got "moon"`},
			{Path: "size", Message: "there is no such option; known: profile"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := New().Validate(json.RawMessage(tt.options))
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %v, want %v", got[i], tt.want[i])
				}
			}
		})
	}
}

// What a profile stands for must be settings that etcd-raft takes.
func TestProfiles(t *testing.T) {
	for name := range profiles {
		translated, problems := translate(json.RawMessage(`{"profile": "` + name + `"}`))
		if problems = append(problems, etcdraft.New().Validate(translated)...); len(problems) > 0 {
			t.Errorf("profile %s: %v", name, problems)
		}
	}
}

// Abilities are found by type assertion: an embedded interface hides them.
func TestAbilities(t *testing.T) {
	inner, outer := etcdraft.New(), New()
	if _, ok := inner.(consensus.TLSReloader); ok {
		if _, ok := outer.(consensus.TLSReloader); !ok {
			t.Error("TLS reload is lost")
		}
	}
	if _, ok := inner.(consensus.Metricser); ok {
		if _, ok := outer.(consensus.Metricser); !ok {
			t.Error("metrics are lost")
		}
	}
}
