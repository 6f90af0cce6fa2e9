package sdk

import "sync"

// sequence checks that a group's proposals come in order and without gaps
// (rule P2), and takes a step back when one is rejected: the host then resends
// from there, and what followed the rejected one is void by the envelope rule.
type sequence struct {
	mu   sync.Mutex
	term uint64
	last uint64 // the last one accepted in term
	run  uint64 // counts the steps back; a late rejection of an older run says nothing
}

// accept takes (term, n) if it is the next one. The caller has checked that the
// replica leads in term, so a term that is not the last one starts at 1.
func (s *sequence) accept(term, n uint64) (run uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term != s.term {
		s.term, s.last = term, 0
		s.run++
	}
	if n != s.last+1 {
		return 0, false
	}
	s.last = n
	return s.run, true
}

// rejected tells that the backend did not append (term, n), accepted in run.
func (s *sequence) rejected(term, n, run uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term == s.term && run == s.run && n <= s.last {
		s.last = n - 1
		s.run++
	}
}

// position returns the last sequence accepted in term.
func (s *sequence) position(term uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term != s.term {
		return 0
	}
	return s.last
}
