package coordinator

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Shard is one partition of an internal topic and the machine on it. Submit and
// Lead may be called from any goroutine, also before Run.
type Shard[M Machine] struct {
	cfg        Config
	partition  int32
	source     Source
	newMachine func(*Timers) M
	log        *slog.Logger

	mailbox chan Event[M]
	wanted  atomic.Pointer[leadership]
	wake    chan struct{} // wanted has changed

	stopping sync.RWMutex // held to put into the mailbox
	stopped  bool         // nothing is put into the mailbox any more

	// What follows belongs to Run's goroutine.
	current *leadership // that term stands for, or stood for until it failed
	term    *term[M]    // nil while this broker does not serve
	retryAt time.Time   // when to try again, if term failed
	loaded  chan loaded[M]
	awaited chan awaited[M]
}

// leadership is what the partition's metadata says about this broker.
type leadership struct {
	leader bool
	epoch  int32
}

func newShard[M Machine](cfg Config, partition int32, source Source, newMachine func(*Timers) M, log *slog.Logger) *Shard[M] {
	return &Shard[M]{
		cfg:        cfg,
		partition:  partition,
		source:     source,
		newMachine: newMachine,
		log:        log.With("partition", partition),
		mailbox:    make(chan Event[M], cfg.MailboxLength),
		wake:       make(chan struct{}, 1),
		loaded:     make(chan loaded[M]),
		awaited:    make(chan awaited[M]),
	}
}

// Lead tells the shard whether this broker leads the partition, and in which
// epoch. Only the latest call counts. It does not block.
func (s *Shard[M]) Lead(leader bool, epoch int32) {
	s.wanted.Store(&leadership{leader: leader, epoch: epoch})
	select {
	case s.wake <- struct{}{}:
	default: // it will see this one too
	}
}

// Submit hands an event to the shard. It does not block: if the mailbox is full
// the event is refused.
func (s *Shard[M]) Submit(ev Event[M]) {
	s.stopping.RLock()
	err := s.put(ev)
	s.stopping.RUnlock()
	if err != nil {
		ev.Refuse(err)
	}
}

func (s *Shard[M]) put(ev Event[M]) error {
	if s.stopped {
		return ErrNotCoordinator
	}
	select {
	case s.mailbox <- ev:
		return nil
	default:
		return ErrBusy
	}
}

// Run serves whenever this broker leads, until ctx ends. Then it answers all
// that waits.
func (s *Shard[M]) Run(ctx context.Context) {
	clock := time.NewTimer(0)
	defer clock.Stop()
	for {
		s.follow(ctx)
		s.arm(clock)
		select {
		case <-ctx.Done():
			s.stop()
			return
		case <-s.wake:
		case ev := <-s.open():
			s.round(ev)
		case l := <-s.loaded:
			s.start(l)
		case a := <-s.awaited:
			s.release(a)
		case <-clock.C:
			s.fire()
		}
	}
}

// open is the mailbox, or nil while too much waits to be committed.
func (s *Shard[M]) open() <-chan Event[M] {
	if s.term != nil && len(s.term.parked) >= s.cfg.MaxParked {
		return nil
	}
	return s.mailbox
}

// follow brings the shard into line with what is wanted of it.
func (s *Shard[M]) follow(ctx context.Context) {
	wanted := s.wanted.Load()
	if wanted != s.current && (s.current == nil || *wanted != *s.current) {
		s.end(ErrNotCoordinator)
		s.retryAt = time.Time{}
	}
	s.current = wanted
	if s.leads() && s.term == nil && !time.Now().Before(s.retryAt) {
		s.begin(ctx, wanted.epoch)
	}
}

func (s *Shard[M]) leads() bool { return s.current != nil && s.current.leader }

// arm sets the clock to the next thing that is due.
func (s *Shard[M]) arm(clock *time.Timer) {
	at, ok := s.retryAt, s.leads() && s.term == nil
	if s.serves() {
		at, ok = s.term.timers.next()
	}
	clock.Stop()
	if ok {
		clock.Reset(time.Until(at))
	}
}

func (s *Shard[M]) serves() bool { return s.term != nil && s.term.serving }

// stop ends the term and refuses every event, now and from now on.
func (s *Shard[M]) stop() {
	s.end(ErrNotCoordinator)
	s.stopping.Lock()
	s.stopped = true
	s.stopping.Unlock()
	for {
		select {
		case ev := <-s.mailbox:
			ev.Refuse(ErrNotCoordinator)
		default:
			return
		}
	}
}
