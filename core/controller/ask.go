package controller

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ask is one request on its way through a term.
type ask struct {
	req    kmsg.Request
	state  atomic.Int32
	answer chan answer // of one
}

// The states of an ask. It leaves waiting once: taken by the term, which then
// answers it for certain, or given up by the one who asked.
const (
	askWaiting int32 = iota
	askTaken
	askGivenUp
)

type answer struct {
	resp  kmsg.Response
	index uint64
	err   error
	held  time.Duration // for so long the backend did not take the proposal
}

func (a *ask) take() bool   { return a.state.CompareAndSwap(askWaiting, askTaken) }
func (a *ask) giveUp() bool { return a.state.CompareAndSwap(askWaiting, askGivenUp) }

// reply answers. The one who asked may be gone: the channel has room for it.
func (a *ask) reply(resp kmsg.Response, index uint64, err error) {
	a.answer <- answer{resp: resp, index: index, err: err}
}

// submit hands a request to the term's goroutine and waits for the answer. While
// the metadata log pushes back, clients that understand it are refused at once,
// with throttle_time_ms; the others, and brokers, wait for as long as ctx allows.
// A client's answer that was held back says for how long.
func (t *term) submit(ctx context.Context, req kmsg.Request) (kmsg.Response, uint64, error) {
	if resp := t.refuse(req, time.Now()); resp != nil {
		return resp, 0, nil
	}
	a := &ask{req: req, answer: make(chan answer, 1)}
	blocked, err := t.post(ctx, a)
	if err != nil {
		return nil, 0, err
	}
	got := t.await(ctx, a)
	slowDown(got.resp, blocked+got.held)
	return got.resp, got.index, got.err
}

// post puts an ask into the mailbox, and tells for how long that was full.
func (t *term) post(ctx context.Context, a *ask) (blocked time.Duration, err error) {
	select {
	case t.mailbox <- a:
		return 0, nil
	default:
	}
	begun := time.Now()
	select {
	case t.mailbox <- a:
		return time.Since(begun), nil
	case <-t.over:
		return 0, errNotController()
	case <-ctx.Done():
		return 0, fmt.Errorf("the controller did not get to it: %w", ctx.Err())
	}
}

// await waits for the answer to an ask that is in the mailbox.
func (t *term) await(ctx context.Context, a *ask) answer {
	over := t.over
	for {
		select {
		case got := <-a.answer:
			return got
		case <-over:
			if a.giveUp() {
				return answer{err: errNotController()}
			}
			over = nil // taken: the answer will come
		case <-ctx.Done():
			if a.giveUp() {
				return answer{err: fmt.Errorf("the controller did not get to it: %w", ctx.Err())}
			}
			return answer{err: fmt.Errorf("await the controller's decision: %w", ctx.Err())}
		}
	}
}
