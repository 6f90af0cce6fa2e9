package kit

import (
	"testing"

	"github.com/quorate/quorate/consensus"
)

// A log that has lost its tail is written anew by a higher term. The terms so far are
// those of the entries: none may have been sampled yet.
func TestTornLog(t *testing.T) {
	entry := func(index, term uint64, internal bool, what string) consensus.Entry {
		e := consensus.Entry{Index: index, Term: term, Internal: internal}
		if !internal {
			e.Data = consensus.Envelope{ExpectedTerm: term, Sequence: index - 1, Payload: []byte(what)}.Append(nil)
		}
		return e
	}
	for _, test := range []struct {
		name    string
		sampled uint64
		again   consensus.Entry
		want    int
	}{
		{"a new term writes where the tail was, and no term was sampled", 0, entry(3, 3, true, ""), 0},
		{"a new term writes where the tail was", 2, entry(3, 3, true, ""), 0},
		{"an old term has another entry", 0, entry(3, 2, false, "c"), 1},
		{"an old term has another entry, and a higher term was sampled", 4, entry(3, 2, false, "c"), 1},
	} {
		var found []Finding
		c := newChecks(func(f Finding) { found = append(found, f) })
		m := newMachine()
		for _, e := range []consensus.Entry{entry(1, 2, true, ""), entry(2, 2, false, "a"), entry(3, 2, false, "b")} {
			if err := m.apply(e); err != nil {
				t.Fatal(err)
			}
			c.entry(life{1, 1}, e, m.Chain)
		}
		if test.sampled > 0 {
			c.term(life{1, 1}, test.sampled)
		}
		c.tear()
		c.entry(life{1, 2}, test.again, [32]byte{1})
		if len(found) != test.want || test.want > 0 && found[0].Rule != "D3" {
			t.Errorf("%s: found %v, want %d breaches of D3", test.name, found, test.want)
		}
	}
}
