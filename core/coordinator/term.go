package coordinator

import (
	"context"
	"sync"
	"time"

	"github.com/quorate/quorate/protocol/record"
)

// term is one leadership of one shard, from the beginning of the load to the
// first sign that it is over. It belongs to the shard's goroutine.
type term[M Machine] struct {
	epoch     int32
	partition Partition
	machine   M // the loader's until serving
	timers    *Timers
	serving   bool
	// help runs f on a goroutine of its own, with a context that ends with the term.
	help    func(f func(ctx context.Context))
	cancel  context.CancelFunc
	helpers sync.WaitGroup // the loader, then whoever awaits a commit

	batch     []*Turn // not appended yet
	batchKeys map[string]struct{}
	batchSize int
	builder   *record.Builder

	parked   []parked // in order of their end
	awaiting bool     // a helper waits for the first of them
	// unsettled is, by key, the end of what was last appended; keys are taken out
	// when it is committed, at the latest when they are asked for.
	unsettled map[string]int64
	allEnd    int64 // the end of all that was appended
	settled   int64 // everything before it is committed
}

// parked is the answers of a turn that wait for the partition to commit up to end.
type parked struct {
	key      string
	end      int64
	deadline time.Time
	answers  []func(error)
}

// begin starts to load.
func (s *Shard[M]) begin(ctx context.Context, epoch int32) {
	p, err := s.source.Partition(s.partition)
	if err != nil {
		s.log.Warn("the coordinator has no partition to load", "leader_epoch", epoch, "error", err)
		s.retryAt = time.Now().Add(s.cfg.LoadBackoff)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	timers := &Timers{}
	t := &term[M]{
		epoch:     epoch,
		partition: p,
		timers:    timers,
		machine:   s.newMachine(timers),
		cancel:    cancel,
		builder:   record.NewBuilder(),
		batchKeys: map[string]struct{}{},
		unsettled: map[string]int64{},
	}
	t.help = func(f func(context.Context)) { t.helpers.Go(func() { f(ctx) }) }
	s.term = t
	t.help(func(ctx context.Context) { s.load(ctx, t) })
}

// end ends the term, if there is one, and answers what waits in it with err.
func (s *Shard[M]) end(err error) {
	t := s.term
	if t == nil {
		return
	}
	s.term = nil
	t.cancel()
	t.helpers.Wait()
	if !t.serving {
		return
	}
	for _, turn := range t.batch {
		call(turn.applied, err)
		call(turn.committed, err)
	}
	for _, p := range t.parked {
		call(p.answers, err)
	}
	t.machine.Stop(err)
	s.log.Info("the coordinator has stopped to serve its partition", "leader_epoch", t.epoch)
}

// fail ends the term because what is in memory may not be what is in the log. It
// is loaded again soon, unless another broker leads by then.
func (s *Shard[M]) fail(why string, err, answer error) {
	s.log.Warn("the coordinator has to load its partition again", "reason", why, "error", err, "leader_epoch", s.term.epoch)
	s.end(answer)
	s.retryAt = time.Now().Add(s.cfg.LoadBackoff)
}
