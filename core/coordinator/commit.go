package coordinator

import (
	"context"
	"slices"
	"time"

	"github.com/quorate/quorate/protocol"
)

// answer answers a turn that wrote nothing, at once if it saw nothing that is
// not committed.
func (t *term[M]) answer(turn *Turn, timeout time.Duration) {
	if len(turn.committed) == 0 {
		return
	}
	if end := t.seenBy(turn.key); end > t.settled {
		t.park(turn, end, timeout)
		return
	}
	call(turn.committed, nil)
}

// seenBy returns the end of what an event with this key may have seen.
func (t *term[M]) seenBy(key string) int64 {
	if key == "" {
		return t.allEnd
	}
	end := max(t.unsettled[key], t.unsettled[""])
	if end <= t.settled {
		delete(t.unsettled, key)
	}
	return end
}

func (t *term[M]) park(turn *Turn, end int64, timeout time.Duration) {
	t.parked = append(t.parked, parked{
		key:      turn.key,
		end:      end,
		deadline: time.Now().Add(timeout),
		answers:  turn.committed,
	})
}

// awaited is a helper's message that the partition has committed up to end, or
// that it does not.
type awaited[M Machine] struct {
	term *term[M]
	end  int64
	err  error
}

// await has one helper wait for the oldest of what is parked.
func (s *Shard[M]) await() {
	t := s.term
	if t == nil || t.awaiting || len(t.parked) == 0 {
		return
	}
	t.awaiting = true
	oldest := t.parked[0]
	t.help(func(ctx context.Context) {
		waiting, cancel := context.WithDeadline(ctx, oldest.deadline)
		defer cancel()
		err := t.partition.AwaitCommitted(waiting, t.epoch, oldest.end)
		select {
		case s.awaited <- awaited[M]{term: t, end: oldest.end, err: err}:
		case <-ctx.Done():
		}
	})
}

// release answers what the helper's message is about, and has the next awaited.
func (s *Shard[M]) release(a awaited[M]) {
	t := s.term
	if t != a.term {
		return
	}
	t.awaiting = false
	switch {
	case a.err == nil:
		t.settled = max(t.settled, a.end)
		t.releaseTo(a.end, nil)
	case isSlow(a.err):
		t.releaseTo(a.end, ErrUncertain)
	case isDeposed(protocol.CodeOf(a.err)):
		s.fail("the partition has another leader", a.err, ErrNotCoordinator)
	default:
		s.fail("it is not known whether the log is committed", a.err, ErrUncertain)
	}
	s.await()
}

func (t *term[M]) releaseTo(end int64, err error) {
	n := 0
	for ; n < len(t.parked) && t.parked[n].end <= end; n++ {
		p := &t.parked[n]
		if err == nil && t.unsettled[p.key] == p.end {
			delete(t.unsettled, p.key)
		}
		call(p.answers, err)
	}
	t.parked = slices.Delete(t.parked, 0, n)
}
