package sdk

import "testing"

func TestSequence(t *testing.T) {
	type step struct {
		term, n uint64
		reject  bool // the backend rejects (term, n), accepted in run
		commit  bool // or commits it
		run     uint64
		ok      bool
	}
	tests := []struct {
		name  string
		steps []step
		last  uint64
	}{
		{"in order", []step{{term: 1, n: 1, ok: true}, {term: 1, n: 2, ok: true}}, 2},
		{"gap", []step{{term: 1, n: 1, ok: true}, {term: 1, n: 3}}, 1},
		{"repeat", []step{{term: 1, n: 1, ok: true}, {term: 1, n: 1}}, 1},
		{"not from the start", []step{{term: 1, n: 2}}, 0},
		{"a new term starts again", []step{{term: 1, n: 1, ok: true}, {term: 2, n: 2}, {term: 2, n: 1, ok: true}}, 1},
		{"a rejected one steps back", []step{
			{term: 1, n: 1, ok: true},
			{term: 1, n: 2, ok: true},
			{term: 1, n: 3, ok: true},
			{term: 1, n: 2, reject: true, run: 1},
			{term: 1, n: 4},
			{term: 1, n: 2, ok: true},
		}, 2},
		{"a late rejection of an older run says nothing", []step{
			{term: 1, n: 1, ok: true},
			{term: 1, n: 2, ok: true},
			{term: 1, n: 1, reject: true, run: 1},
			{term: 1, n: 1, ok: true},
			{term: 1, n: 2, ok: true},
			{term: 1, n: 2, reject: true, run: 1},
			{term: 1, n: 3, ok: true},
		}, 3},
		{"rejections come in any order", []step{
			{term: 1, n: 1, ok: true},
			{term: 1, n: 2, ok: true},
			{term: 1, n: 3, ok: true},
			{term: 1, n: 1, commit: true, run: 1},
			{term: 1, n: 3, reject: true, run: 1},
			{term: 1, n: 2, reject: true, run: 1},
			{term: 1, n: 3},
			{term: 1, n: 2, ok: true},
			{term: 1, n: 3, ok: true},
		}, 3},
		{"a lower one steps back behind what was sent again", []step{
			{term: 1, n: 1, ok: true},
			{term: 1, n: 2, ok: true},
			{term: 1, n: 2, reject: true, run: 1},
			{term: 1, n: 2, ok: true},
			{term: 1, n: 1, reject: true, run: 1},
			{term: 1, n: 2, reject: true, run: 2},
			{term: 1, n: 1, ok: true},
		}, 1},
		{"an answer that comes twice counts once", []step{
			{term: 1, n: 1, ok: true},
			{term: 1, n: 1, reject: true, run: 1},
			{term: 1, n: 1, reject: true, run: 1},
			{term: 1, n: 1, ok: true},
			{term: 1, n: 1, reject: true, run: 1},
			{term: 1, n: 2, ok: true},
		}, 2},
		{"a rejection of an older term says nothing", []step{
			{term: 1, n: 1, ok: true}, {term: 2, n: 1, ok: true}, {term: 1, n: 1, reject: true, run: 1},
		}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s sequence
			for i, st := range tt.steps {
				if st.reject || st.commit {
					s.decided(st.term, st.n, st.run, st.reject)
					continue
				}
				if _, ok := s.accept(st.term, st.n); ok != st.ok {
					t.Fatalf("step %d: accept(%d, %d) = %t, want %t", i, st.term, st.n, ok, st.ok)
				}
			}
			if limit := int(tt.last) + 2; len(s.undecided) > limit {
				t.Errorf("%d are undecided, want at most %d", len(s.undecided), limit)
			}
			if got := s.position(s.term); got != tt.last {
				t.Errorf("position %d, want %d", got, tt.last)
			}
		})
	}
}
