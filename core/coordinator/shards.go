package coordinator

import (
	"context"
	"log/slog"
	"sync"
)

// Shards is every shard of one internal topic.
type Shards[M Machine] struct {
	cfg        Config
	source     Source
	newMachine func(*Timers) M
	log        *slog.Logger

	mu       sync.Mutex
	shards   map[int32]*Shard[M]
	unborn   []*Shard[M]   // not running yet
	born     chan struct{} // there is an unborn one
	finished bool          // Run has ended
}

// NewShards registers with the source and starts nothing. newMachine makes the
// empty machine of each leadership.
func NewShards[M Machine](cfg Config, source Source, newMachine func(*Timers) M, log *slog.Logger) *Shards[M] {
	s := &Shards[M]{
		cfg:        cfg,
		source:     source,
		newMachine: newMachine,
		log:        log,
		shards:     map[int32]*Shard[M]{},
		born:       make(chan struct{}, 1),
	}
	source.OnLeadership(s.lead)
	return s
}

// Run serves what this broker leads until ctx ends.
func (s *Shards[M]) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		for _, shard := range s.takeUnborn() {
			running.Go(func() { shard.Run(ctx) })
		}
		select {
		case <-s.born:
		case <-ctx.Done():
			s.finish()
			return nil
		}
	}
}

// Submit hands an event to the shard of a partition. It does not block.
func (s *Shards[M]) Submit(partition int32, ev Event[M]) {
	s.mu.Lock()
	shard := s.shards[partition]
	s.mu.Unlock()
	if shard == nil {
		ev.Refuse(ErrNotCoordinator)
		return
	}
	shard.Submit(ev)
}

// Partitions returns the partitions that this broker leads or has led.
func (s *Shards[M]) Partitions() []int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	partitions := make([]int32, 0, len(s.shards))
	for p := range s.shards {
		partitions = append(partitions, p)
	}
	return partitions
}

func (s *Shards[M]) lead(partition int32, leader bool, epoch int32) {
	if shard := s.shard(partition, leader); shard != nil {
		shard.Lead(leader, epoch)
	}
}

// shard returns the shard of a partition; if create is set it makes one.
func (s *Shards[M]) shard(partition int32, create bool) *Shard[M] {
	s.mu.Lock()
	defer s.mu.Unlock()
	shard := s.shards[partition]
	if shard != nil || !create || s.finished {
		return shard
	}
	shard = newShard(s.cfg, partition, s.source, s.newMachine, s.log)
	s.shards[partition] = shard
	s.unborn = append(s.unborn, shard)
	select {
	case s.born <- struct{}{}:
	default: // Run will see this one too
	}
	return shard
}

func (s *Shards[M]) takeUnborn() []*Shard[M] {
	s.mu.Lock()
	defer s.mu.Unlock()
	unborn := s.unborn
	s.unborn = nil
	return unborn
}

// finish refuses what is waiting in shards that never ran.
func (s *Shards[M]) finish() {
	s.mu.Lock()
	s.finished = true
	unborn := s.unborn
	s.unborn = nil
	s.mu.Unlock()
	for _, shard := range unborn {
		shard.stop()
	}
}
