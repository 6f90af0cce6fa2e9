package coordinator

import "context"

// Reply is where the answer to one event goes. The first answer counts; it may
// be given in the event's own turn or in a later one.
type Reply[R any] struct{ to chan result[R] }

type result[R any] struct {
	value R
	err   error
}

// Send answers now.
func (r Reply[R]) Send(value R) { r.send(result[R]{value: value}) }

// Fail answers now with an error.
func (r Reply[R]) Fail(err error) { r.send(result[R]{err: err}) }

// SendCommitted answers once everything that the turn wrote or saw is committed,
// or fails.
func (r Reply[R]) SendCommitted(t *Turn, value R) {
	t.OnCommitted(func(err error) {
		if err != nil {
			r.Fail(err)
			return
		}
		r.Send(value)
	})
}

func (r Reply[R]) send(res result[R]) {
	select {
	case r.to <- res:
	default: // it was answered before
	}
}

// Do has run decide on a partition's machine and waits for the answer it gives
// through the Reply, or for ctx to end. An answer that comes later is lost; what
// the event did is not.
func Do[M Machine, R any](ctx context.Context, s *Shards[M], partition int32, key string, run func(m M, t *Turn, r Reply[R])) (R, error) {
	r := Reply[R]{to: make(chan result[R], 1)}
	s.Submit(partition, Event[M]{
		Key:    key,
		Run:    func(m M, t *Turn) { run(m, t, r) },
		Refuse: r.Fail,
	})
	select {
	case res := <-r.to:
		return res.value, res.err
	case <-ctx.Done():
		var none R
		return none, ctx.Err()
	}
}
