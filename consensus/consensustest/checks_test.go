package consensustest

import (
	"errors"
	"slices"
	"testing"

	"github.com/quorate/quorate/consensus"
)

// quiet takes the errors that checks report.
type quiet struct{ *testing.T }

func (quiet) Errorf(string, ...any) {}

func TestChecksFindBrokenRules(t *testing.T) {
	lead := func(term, id uint64, role consensus.Role) consensus.Leadership {
		return consensus.Leadership{Term: term, Leader: id, Role: role, ReadyIndex: 1}
	}
	entry := func(index, term uint64, payload string) consensus.Entry {
		env := consensus.Envelope{ExpectedTerm: term, Sequence: 1, Payload: []byte(payload)}
		return consensus.Entry{Index: index, Term: term, Data: env.Append(nil)}
	}
	one, two, again := life{1, 1}, life{2, 1}, life{1, 2}
	tests := []struct {
		name string
		see  func(*checks)
		want string // the rule
	}{{
		name: "nothing wrong",
		see: func(c *checks) {
			c.leadership(one, lead(1, 1, consensus.LeaderReady))
			c.leadership(two, lead(2, 2, consensus.Leader))
			c.entry(one, entry(1, 1, "a"), [32]byte{1})
			c.entry(two, entry(1, 1, "a"), [32]byte{1})
			c.result("a", consensus.Result{Outcome: consensus.Committed, Index: 1})
		},
	}, {
		name: "a term that falls",
		see: func(c *checks) {
			c.leadership(one, lead(3, 0, consensus.Follower))
			c.leadership(again, lead(2, 0, consensus.Follower))
		},
		want: "T1",
	}, {
		name: "two leaders in a term",
		see: func(c *checks) {
			c.leadership(one, lead(3, 1, consensus.Leader))
			c.leadership(two, lead(3, 2, consensus.Leader))
		},
		want: "T2",
	}, {
		name: "a leader again after a restart",
		see: func(c *checks) {
			c.leadership(one, lead(3, 1, consensus.Leader))
			c.leadership(again, lead(3, 1, consensus.Leader))
		},
		want: "T3",
	}, {
		name: "a ready index that is not the term's first",
		see: func(c *checks) {
			c.leadership(one, lead(1, 1, consensus.LeaderReady))
			c.entry(one, entry(2, 1, "a"), [32]byte{1})
		},
		want: "T4",
	}, {
		name: "different logs",
		see: func(c *checks) {
			c.entry(one, entry(1, 1, "a"), [32]byte{1})
			c.entry(two, entry(1, 1, "a"), [32]byte{2})
		},
		want: "D3",
	}, {
		name: "a proposal twice",
		see: func(c *checks) {
			c.entry(one, entry(1, 1, "a"), [32]byte{1})
			c.entry(one, entry(2, 1, "a"), [32]byte{2})
		},
		want: "P4",
	}, {
		name: "rejected, and in the log",
		see: func(c *checks) {
			c.result("a", consensus.Result{Outcome: consensus.Rejected, Err: errors.New("no")})
			c.entry(one, entry(1, 1, "a"), [32]byte{1})
		},
		want: "P3",
	}, {
		name: "committed, and something else is there",
		see: func(c *checks) {
			c.result("a", consensus.Result{Outcome: consensus.Committed, Index: 1})
			c.entry(one, entry(1, 1, "b"), [32]byte{1})
		},
		want: "P3",
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newChecks(quiet{t})
			tt.see(c)
			c.finish()
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			if got := c.brokenRules(); !slices.Equal(got, want) {
				t.Fatalf("got rules %q broken, want %q", got, want)
			}
		})
	}
}
