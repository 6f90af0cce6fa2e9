package replica

import "sync"

// partitionSet is the partitions that have something to be done: each once,
// however often it is added, so it is bounded by how many there are.
type partitionSet struct {
	mu   sync.Mutex
	set  map[*Partition]struct{}
	kick chan struct{} // has a value after an add
}

func newPartitionSet() *partitionSet {
	return &partitionSet{set: map[*Partition]struct{}{}, kick: make(chan struct{}, 1)}
}

func (s *partitionSet) add(p *Partition) {
	s.keep(p)
	wake(s.kick)
}

// keep is add without a kick.
func (s *partitionSet) keep(p *Partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set[p] = struct{}{}
}

func (s *partitionSet) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.set) == 0
}

// take empties the set.
func (s *partitionSet) take() map[*Partition]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.set
	s.set = map[*Partition]struct{}{}
	return taken
}
