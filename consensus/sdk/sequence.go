package sdk

import "sync"

// sequence checks that a group's proposals come in order and without gaps
// (rule P2), and takes a step back when one is rejected: the host then resends
// from there, and what followed the rejected one is void by the envelope rule.
//
// A backend may decide proposals in any order, so rejections, too, come in any
// order: a later one of a lower sequence steps back further. One of a sequence
// that has been accepted anew meanwhile says nothing.
type sequence struct {
	mu   sync.Mutex
	term uint64
	last uint64 // the last one accepted in term
	run  uint64 // counts the steps back
	// undecided has the run in which a sequence of term was accepted the last time,
	// until that is decided. The window bounds it.
	undecided map[uint64]uint64
}

// accept takes (term, n) if it is the next one. The caller has checked that the
// replica leads in term, so a term that is not the last one starts at 1.
func (s *sequence) accept(term, n uint64) (run uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term != s.term {
		s.term, s.last = term, 0
		s.run++
		s.undecided = make(map[uint64]uint64)
	}
	if n != s.last+1 {
		return 0, false
	}
	s.last = n
	s.undecided[n] = s.run
	return s.run, true
}

// decided takes note that (term, n), accepted in run, has its outcome: that the
// backend did not append it, or anything else.
func (s *sequence) decided(term, n, run uint64, rejected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term != s.term || s.undecided[n] != run {
		return
	}
	delete(s.undecided, n)
	if rejected && n <= s.last {
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
